"""The trees that cells start from: made from a recipe, pinned by digest, kept beside the store."""
