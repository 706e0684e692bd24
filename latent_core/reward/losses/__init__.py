"""Losses: what a LatentRM is trained to do with the labels of steps. One file each, found by name.

A new loss is a new module here with a function under `@register_loss`; nothing else changes.
"""

from latent_core.reward.losses.base import LOSSES, Loss, register_loss

__all__ = ["LOSSES", "Loss", "register_loss"]
