"""Checkpoint formats: what a family of latent reasoners does around its backbone. One file each, found by name."""

from latent_core.models.formats.base import FORMATS, LatentFormat

__all__ = ["FORMATS", "LatentFormat"]
