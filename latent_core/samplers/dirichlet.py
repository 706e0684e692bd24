"""Dirichlet draws in place of the weights of vocabulary mixtures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from latent_core.mixtures import Candidates, Merged
from latent_core.randomness import Streams
from latent_core.samplers.base import DrawSite, register_sampler
from latent_core.samplers.thought_sampler import ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor

_ATTEMPTS = 8
"""An attempt fails in less than one of twenty cases, all of them in one of 10**10; the last one is then taken."""
_PER_DRAW = 3 * _ATTEMPTS + 1


@register_sampler
class Dirichlet(ThoughtSampler):
    """Draws weights ~ Dirichlet(alpha p) over the candidates of a mixture before the most probable ones are merged.

    Attributes:
        alpha: Total concentration: large values stay near p, small ones come near a single token.
    """

    kind: ClassVar[str] = "dirichlet"
    feedbacks: ClassVar[tuple[str, ...]] = ("vocabulary_mixture",)

    alpha: float = Field(default=1.0, ge=1e-3, le=1e6)

    def merge(self, candidates: Candidates, streams: Streams, step: int) -> Merged:
        """Return the mixture of the tokens with the highest drawn weights, the highest one first."""
        count = candidates.ids.shape[-1]
        uniform = streams.uniform(step, DrawSite.MIXTURE, count * _PER_DRAW).unflatten(1, (count, _PER_DRAW))
        shape = self.alpha * candidates.probabilities
        drawn = log_gamma_draws(shape, uniform).where(shape > 0.0, float("-inf"))
        return candidates.reweighted(drawn)


def log_gamma_draws(shape: Tensor, uniform: Tensor) -> Tensor:
    """Return logarithms of Gamma(shape, 1) draws, float32 [...]; small shapes underflow outside of logarithms.

    Rejection by Marsaglia and Tsang 2000 (doi 10.1145/358407.358414) at shape + 1, in a fixed number of attempts, and
    a power of one more uniform.

    Args:
        shape: Positive, [...].
        uniform: In (0, 1), [..., 3 x attempts + 1].
    """
    import torch

    first, angle, accept = uniform[..., :-1].unflatten(-1, (3, _ATTEMPTS)).unbind(-2)
    normal = (-2.0 * first.log()).sqrt() * (2.0 * math.pi * angle).cos()
    d = (shape + 1.0 - 1.0 / 3.0)[..., None]
    cube = (1.0 + normal / (9.0 * d).sqrt()) ** 3
    positive = cube.clamp(min=torch.finfo(torch.float32).tiny)
    accepted = (cube > 0.0) & (accept.log() < 0.5 * normal**2 + d * (1.0 - cube + positive.log()))
    accepted[..., -1] = True
    found: Tensor = (d * positive).log().gather(-1, accepted.int().argmax(dim=-1, keepdim=True)).squeeze(-1)
    boost: Tensor = uniform[..., -1].log() / shape
    return found + boost
