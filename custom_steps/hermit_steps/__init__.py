"""What a build does: the spec that a project writes, and the plan of commands that it means."""
