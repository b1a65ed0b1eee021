"""Is what a Buildbot master does in a build: steps that work through the cell of Hermit's latent worker."""
