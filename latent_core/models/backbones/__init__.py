"""Backbones: where the perturbable sites of an architecture are. One file each, found by `model_type`."""

from latent_core.models.backbones.base import BACKBONES, Backbone

__all__ = ["BACKBONES", "Backbone"]
