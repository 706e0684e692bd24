"""Checkpoints: how they are found, read and run."""

from typing import Any

__all__ = ["LatentReasoner"]


def __getattr__(name: str) -> Any:
    # Looking at a checkpoint must not cost the seconds that importing model code takes.
    if name == "LatentReasoner":
        from latent_core.models.reasoner import LatentReasoner

        return LatentReasoner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
