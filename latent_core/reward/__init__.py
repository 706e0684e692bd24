"""LatentRM: a reward model that reads latent steps."""
