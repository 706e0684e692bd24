"""Conversion: checkpoints of other layouts become directories that can be run. One file a layout, found by its keys."""

from latent_core.conversion.base import LAYOUTS, Options
from latent_core.conversion.convert import convert

__all__ = ["LAYOUTS", "Options", "convert"]
