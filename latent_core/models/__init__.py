"""Checkpoints: how they are found, read and run."""

from latent_core.models.reasoner import LatentReasoner

__all__ = ["LatentReasoner"]
