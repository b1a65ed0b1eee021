"""Snapshot commits: made of git objects without a checkout, pushed with a lease on what was recorded."""
