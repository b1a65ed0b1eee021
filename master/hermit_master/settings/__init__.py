"""What an operator writes: `hermit.yaml` and one file for each repository, read into closed typed models."""
