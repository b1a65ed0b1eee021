"""Is what a Buildbot master runs builds with: a latent worker that has no program in the cell."""
