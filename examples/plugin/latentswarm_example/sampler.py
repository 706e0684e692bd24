"""Additive uniform noise on the fed-back latent vectors."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from latent_core.randomness import Streams
from latent_core.samplers import Sampler, register_sampler
from latent_core.samplers.base import DrawSite


@register_sampler
class UniformNoise(Sampler):
    """h*_t = h_t + u with u uniform on [-width, width], drawn for each element by itself.

    Attributes:
        width: Half of the range.
    """

    kind: ClassVar[str] = "uniform"

    width: float = Field(ge=0.0)

    @property
    def deterministic(self) -> bool:
        """True without any noise: all samples would be the same."""
        return self.width == 0.0

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        """Add the noise of this step, [rows, hidden size].

        Draws come from the streams alone, at a step and a site: so a sample is the same in every batch, on every node
        and after every restart.
        """
        drawn = streams.uniform(step, DrawSite.LATENT_NOISE, latent.shape[-1])
        return latent + ((2.0 * drawn - 1.0) * self.width).to(latent.dtype)
