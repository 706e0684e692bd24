"""Problem families that a reasoner can be trained on. One file each, found by name."""

from latent_core.training.families.base import FAMILIES, AnnotatedFamily, Family, SyntheticFamily

__all__ = ["FAMILIES", "AnnotatedFamily", "Family", "SyntheticFamily"]
