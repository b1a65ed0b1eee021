"""What tells that a project is built by some tool, and the commands that its people would type: one module a tool."""
