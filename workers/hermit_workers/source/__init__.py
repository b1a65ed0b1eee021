"""Is what goes into a build: found in a work tree, and sent to a cell as one archive."""
