"""Holds the real servers, the runner and the table that the tests of the wire share."""
