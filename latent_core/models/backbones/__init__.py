"""Backbones: where the perturbable places of architectures are. One file a family, found by module names."""

from latent_core.models.backbones.base import BACKBONES, Backbone, check_sampler, find_backbone

__all__ = ["BACKBONES", "Backbone", "check_sampler", "find_backbone"]
