"""Gumbel noise on the weights of vocabulary mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from latent_core.mixtures import Candidates, Merged
from latent_core.randomness import Streams
from latent_core.samplers.base import LEAST_STRENGTH, DrawSite, nothing_or_at_least, register_sampler
from latent_core.samplers.thought_sampler import ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class GumbelNoise(ThoughtSampler):
    """Adds scale x g, g ~ Gumbel(0, 1), to the log-weights of a mixture: softmax((log p + scale g) / temperature).

    Which tokens have a draw, and the range that draws are moved into, are conventions of the checkpoint: see
    `MixtureSettings`. Published: scale 0.5 (Latent-SFT), 1, one-sided (Latent-GRPO), temperature 0.5 (Soft Thinking).

    Attributes:
        scale: Multiplies the noise.
        temperature: Divides the sums; below 1 it sharpens the mixture.
        one_sided: Whether the smallest draw of the range is moved to 0. It is the same number for every token, so
            that mixtures are the same with it and without; it needs a range. Published trainings say it.
    """

    kind: ClassVar[str] = "gumbel"
    feedbacks: ClassVar[tuple[str, ...]] = ("vocabulary_mixture",)

    scale: float = Field(default=1.0, ge=0.0)
    temperature: float = Field(default=1.0, ge=LEAST_STRENGTH)
    one_sided: bool = False

    @field_validator("scale")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_STRENGTH, value, "smaller noise vanishes in single precision")

    @property
    def deterministic(self) -> bool:
        """True without any noise, where answers are not drawn either."""
        return self.scale == 0.0 and self.is_greedy

    def noise(self, candidates: Candidates, streams: Streams, step: int) -> Tensor:
        """Return standard Gumbel draws, float32 [rows, n], one for each candidate."""
        uniform = streams.uniform(step, DrawSite.MIXTURE, candidates.ids.shape[-1])
        return -(-uniform.log()).log()

    def merge(self, candidates: Candidates, streams: Streams, step: int) -> Merged:
        """Return the mixture of the tokens with the highest sums, the highest one first."""
        settings = candidates.settings
        noisy = candidates if settings.noise_before_width else candidates.chosen
        noise = self.noise(noisy, streams, step)
        if settings.noise_range is not None:
            least, most = settings.noise_range
            noise = noise.clamp(least, most) - (least if self.one_sided else 0.0)
        return noisy.reweighted(noisy.log_weights + self.scale * noise, self.temperature)
