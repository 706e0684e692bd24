"""Additive Gaussian noise on the fed-back latent vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from latent_core.randomness import Streams
from latent_core.samplers.base import LEAST_STRENGTH, DrawSite, nothing_or_at_least, register_sampler
from latent_core.samplers.thought_sampler import ANSWER_SETTINGS, ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class GaussianNoise(ThoughtSampler):
    """h*_t = h_t + eps with eps ~ N(0, sigma^2 I), the AGN of arXiv 2510.07745, section 3.

    Attributes:
        sigma: Standard deviation of the noise per element.
        relative: Whether sigma is in units of the latent's own root mean square instead of absolute. The published
            settings are absolute; relative values carry over between checkpoints.
    """

    kind: ClassVar[str] = "gaussian"
    silent: ClassVar[tuple[str, ...]] = ANSWER_SETTINGS

    sigma: float = Field(ge=0.0)
    relative: bool = False

    @field_validator("sigma")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_STRENGTH, value, "smaller noise vanishes in single precision")

    @property
    def deterministic(self) -> bool:
        """True without any noise, where answers are greedy too."""
        return self.sigma == 0.0 and self.is_greedy

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        """Add the noise of this step, [rows, hidden size]."""
        noise = streams.normal(step, DrawSite.LATENT_NOISE, latent.shape[-1]) * self.sigma
        if self.relative:
            # The size of the noise is a number, not a way to lower a loss: no gradient through it.
            noise = noise * latent.detach().float().square().mean(dim=-1, keepdim=True).sqrt()
        return latent + noise.to(latent.dtype)
