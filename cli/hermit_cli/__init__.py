"""The `hermit` command: what a person or a script calls, without a server."""
