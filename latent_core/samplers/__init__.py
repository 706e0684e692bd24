"""Samplers: what makes the trajectories of one question differ. One file each, found by name.

A new sampler is a new module here with a `Sampler` subclass under `@register_sampler`; nothing else changes.
"""

from latent_core.samplers.base import SAMPLERS, Sampler, parse_sampler, register_sampler

__all__ = ["SAMPLERS", "Sampler", "parse_sampler", "register_sampler"]
