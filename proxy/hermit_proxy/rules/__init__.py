"""Which requests a recording build may make: the rules file, its patterns, and help with both."""
