"""Checkpoint formats: what a family of latent reasoners does around its backbone. One file each, found by name."""

from latent_core.models.formats.base import FAMILIES, FORMATS, LatentFormat, described_format

__all__ = ["FAMILIES", "FORMATS", "LatentFormat", "described_format"]
