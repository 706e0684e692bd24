"""What is asked of an actor. Kept apart from the actors so that asking needs no torch."""

from dataclasses import dataclass
from typing import Any

from latent_core.tasks.base import Problem


@dataclass(frozen=True)
class SampleRequest:
    """One shard of work. The sampler's settings travel with it, so that one actor serves every setting.

    Attributes:
        problems: The questions of the shard; they are one batch.
        first_sample: First sample index.
        samples: Number of sample indices.
        sampler: Sampler setting as plain data.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        keep_latents: Whether the reply carries latent vectors.
    """

    problems: tuple[Problem, ...]
    first_sample: int
    samples: int
    sampler: dict[str, Any]
    latent_steps: int
    answer_tokens: int
    seed: int
    keep_latents: bool = False
