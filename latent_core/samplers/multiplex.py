"""Multiplex: several tokens drawn at each step and merged into one latent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from latent_core.mixtures import Candidates, Merged
from latent_core.randomness import Streams
from latent_core.samplers.base import DrawSite, register_sampler
from latent_core.samplers.thought_sampler import ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class Multiplex(ThoughtSampler):
    """Draws tokens with replacement from the candidates of a mixture and merges them; the first one stands for them.

    Attributes:
        draws: Tokens per step, K.
        weights: "probability": in proportion to their probabilities (a token that is drawn twice counts twice), as the
            published scripts do it; "equal": one K-th each.
    """

    kind: ClassVar[str] = "multiplex"
    feedbacks: ClassVar[tuple[str, ...]] = ("vocabulary_mixture",)

    draws: int = Field(default=3, ge=1, le=1024)
    weights: Literal["probability", "equal"] = "probability"

    def drawn(self, candidates: Candidates, streams: Streams, step: int) -> Tensor:
        """Return the places of the drawn candidates, int64 [rows, draws], in the order of drawing."""
        import torch

        cumulative = candidates.probabilities.cumsum(dim=-1)
        point = streams.uniform(step, DrawSite.MIXTURE, self.draws) * cumulative[:, -1:]
        found = torch.searchsorted(cumulative, point, right=True)
        return found.clamp_(max=candidates.ids.shape[-1] - 1)

    def merge(self, candidates: Candidates, streams: Streams, step: int) -> Merged:
        """Return the drawn tokens, the first one first."""
        places = self.drawn(candidates, streams, step)
        weights = candidates.log_weights.gather(-1, places)
        if self.weights == "equal":
            import torch

            weights = torch.zeros_like(weights)
        return Merged(candidates.ids.gather(-1, places), weights.softmax(dim=-1))
