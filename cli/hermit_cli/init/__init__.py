"""How `hermit init` looks at a project and writes a first spec and first rules for a person to review."""
