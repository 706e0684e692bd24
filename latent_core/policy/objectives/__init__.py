"""Objectives of policies: what log-likelihood the advantage weighs. One file each, found by name."""

from latent_core.policy.objectives.base import OBJECTIVES, Objective, register_objective

__all__ = ["OBJECTIVES", "Objective", "register_objective"]
