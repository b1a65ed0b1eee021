"""How `hermit build` conducts a build on this machine, and `hermit shell` looks at what it left."""
