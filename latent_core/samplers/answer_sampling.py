"""Answer-token sampling: the baseline that every latent sampler has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from latent_core.randomness import Streams
from latent_core.samplers.base import LEAST_STRENGTH, DrawSite, Sampler, register_sampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class AnswerSampling(Sampler):
    """Deterministic latents; answer tokens drawn from the tempered, nucleus-truncated distribution.

    Attributes:
        temperature: Divides the logits; values towards 0 approach greedy decoding.
        top_p: Smallest set of most probable tokens whose mass reaches this share is kept (Holtzman et al. 2020,
            arXiv 1904.09751); 1 keeps all.
    """

    kind: ClassVar[str] = "answer_sampling"

    temperature: float = Field(default=1.0, gt=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)

    @field_validator("temperature", "top_p")
    @classmethod
    def _can_be_computed(cls, value: float) -> float:
        if value < LEAST_STRENGTH:
            raise ValueError(f"must be at least {LEAST_STRENGTH:g}, with which single precision still computes")
        return value

    def choose_token(self, logits: Tensor, streams: Streams, step: int) -> Tensor:
        """Draw one token per row."""
        return drawn_token(logits, self.temperature, self.top_p, streams, step)


def drawn_token(logits: Tensor, temperature: float, top_p: float, streams: Streams, step: int) -> Tensor:
    """Draw one token per row, int64 [rows], by inverting the cumulative distribution at one uniform.

    Args:
        logits: [rows, vocabulary].
        temperature: Divides them.
        top_p: Smallest set of most probable tokens whose mass reaches this share is kept; 1 keeps all.
        streams: The random streams of the rows.
        step: The step of the token.
    """
    import torch

    probabilities, tokens = torch.softmax(logits.float() / temperature, dim=-1).sort(
        dim=-1, descending=True, stable=True
    )
    cumulative = probabilities.cumsum(dim=-1)
    # A token stays while the mass in front of it is short of top_p, so the most probable one always does.
    kept = torch.where(cumulative - probabilities < top_p, probabilities, 0.0).cumsum(dim=-1)
    point = streams.uniform(step, DrawSite.ANSWER_TOKEN, 1) * kept[:, -1:]
    chosen = torch.searchsorted(kept, point, right=True).clamp_(max=logits.shape[-1] - 1)
    return tokens.gather(1, chosen).squeeze(1)
