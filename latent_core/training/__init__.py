"""Train a small latent reasoner from a recipe."""
