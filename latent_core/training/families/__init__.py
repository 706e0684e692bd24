"""Problem families that a reasoner can be trained on. One file each, found by name."""

from latent_core.training.families.base import FAMILIES, Family

__all__ = ["FAMILIES", "Family"]
