"""Objectives: what a LatentRM is trained to do with the labels of steps. One file each, found by name.

A new objective is a new module here with a function under `@register_objective`; nothing else changes.
"""

from latent_core.reward.losses.base import OBJECTIVES, Objective, register_objective

__all__ = ["OBJECTIVES", "Objective", "register_objective"]
