"""The wire of a build: what it may see of the network, and the record of what it saw."""
