"""Samplers of thoughts: those that make latents differ, and draw answer tokens too if they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from latent_core.randomness import Streams
from latent_core.samplers.answer_sampling import drawn_token
from latent_core.samplers.base import LEAST_STRENGTH, Sampler, nothing_or_at_least

if TYPE_CHECKING:
    from torch import Tensor

ANSWER_SETTINGS = ("answer_temperature", "answer_top_p")
"""Settings that samplers which were shipped without them leave unsaid."""


class ThoughtSampler(Sampler):
    """A sampler whose answers are greedy unless they are drawn as well, as published evaluations do it.

    Attributes:
        answer_temperature: Divides the logits of answer tokens, which are drawn then; 0 writes the most probable ones.
            Latents do not depend on it.
        answer_top_p: Smallest set of most probable answer tokens whose mass reaches this share is kept; 1 keeps all.
    """

    answer_temperature: float = Field(default=0.0, ge=0.0)
    answer_top_p: float = Field(default=1.0, ge=LEAST_STRENGTH, le=1.0)

    @field_validator("answer_temperature")
    @classmethod
    def _answers_can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_STRENGTH, value, "single precision does not compute with less")

    @property
    def is_greedy(self) -> bool:
        """Whether answer tokens are the most probable ones."""
        return self.answer_temperature == 0.0

    def choose_token(self, logits: Tensor, streams: Streams, step: int) -> Tensor:
        """Draw one token per row, or take the most probable one."""
        if self.is_greedy:
            return super().choose_token(logits, streams, step)
        return drawn_token(logits, self.answer_temperature, self.answer_top_p, streams, step)
