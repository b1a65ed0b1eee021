"""Which addresses a recording proxy may connect to."""
