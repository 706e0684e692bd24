"""Policy: latents drawn from the distribution that a stochastic head predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from latent_core.randomness import Streams
from latent_core.samplers.base import LEAST_STRENGTH, DrawSite, nothing_or_at_least, register_sampler
from latent_core.samplers.thought_sampler import ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class Policy(ThoughtSampler):
    """h_t = mean + temperature x deviation x eps with eps ~ N(0, I), as CoLaR was trained (arXiv 2505.16552).

    Attributes:
        temperature: Multiplies the standard deviation; published evaluations draw at 1.
        stop: "drawn": thinking ends with the probability of the end token, as published; "argmax": where that is the
            most probable token, as for every other sampler. Of no account where the number of steps is fixed.
    """

    kind: ClassVar[str] = "policy"
    feedbacks: ClassVar[tuple[str, ...]] = ("latent_policy",)

    temperature: float = Field(default=1.0, ge=0.0)
    stop: Literal["drawn", "argmax"] = "drawn"

    @field_validator("temperature")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_STRENGTH, value, "smaller noise vanishes in single precision")

    @property
    def draws_stop(self) -> bool:
        """Whether it is drawn where thinking ends."""
        return self.stop == "drawn"

    @property
    def deterministic(self) -> bool:
        """True where nothing is drawn."""
        return self.temperature == 0.0 and self.stop == "argmax" and self.is_greedy

    def noise(self, streams: Streams, step: int, width: int) -> Tensor:
        """Return standard normal draws, float32 [rows, width]."""
        return streams.normal(step, DrawSite.LATENT_NOISE, width)

    def draw_latent(self, mean: Tensor, deviation: Tensor, streams: Streams, step: int) -> Tensor:
        """Return the drawn latent."""
        noise = self.noise(streams, step, mean.shape[-1])
        return mean + (deviation.float() * self.temperature * noise).to(mean.dtype)
