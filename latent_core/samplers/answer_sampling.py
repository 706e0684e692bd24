"""Answer-token sampling: the baseline that every latent sampler has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

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


@dataclass(frozen=True)
class TokenDistribution:
    """What tokens are drawn from: probabilities of the most probable ones, summed up.

    Attributes:
        tokens: Ids by falling probability, int64 [rows, vocabulary].
        cumulative: Sums of the probabilities that are kept, [rows, vocabulary].
    """

    tokens: Tensor
    cumulative: Tensor

    @classmethod
    def of_logits(cls, logits: Tensor, temperature: float, top_p: float) -> Self:
        """Temper and truncate the distribution of logits, [rows, vocabulary].

        Args:
            logits: [rows, vocabulary].
            temperature: Divides them.
            top_p: Smallest set of most probable tokens whose mass reaches this share is kept; 1 keeps all.
        """
        import torch

        probabilities, tokens = torch.softmax(logits.float() / temperature, dim=-1).sort(
            dim=-1, descending=True, stable=True
        )
        cumulative = probabilities.cumsum(dim=-1)
        # A token stays while the mass in front of it is short of top_p, so the most probable one always does.
        return cls(tokens, torch.where(cumulative - probabilities < top_p, probabilities, 0.0).cumsum(dim=-1))

    def take(self, rows: Tensor) -> Self:
        """Return the distributions of some rows, int64 [n]."""
        return type(self)(self.tokens[rows], self.cumulative[rows])

    def draw(self, streams: Streams, step: int) -> Tensor:
        """Draw one token per row, int64 [rows], by inverting the cumulative distribution at one uniform."""
        import torch

        point = streams.uniform(step, DrawSite.ANSWER_TOKEN, 1) * self.cumulative[:, -1:]
        chosen = torch.searchsorted(self.cumulative, point, right=True).clamp_(max=self.tokens.shape[-1] - 1)
        return self.tokens.gather(1, chosen).squeeze(1)


def drawn_token(logits: Tensor, temperature: float, top_p: float, streams: Streams, step: int) -> Tensor:
    """Draw one token per row, int64 [rows], from its tempered and truncated distribution.

    Args:
        logits: [rows, vocabulary].
        temperature: See `TokenDistribution.of_logits`.
        top_p: Likewise.
        streams: The random streams of the rows.
        step: The step of the token.
    """
    return TokenDistribution.of_logits(logits, temperature, top_p).draw(streams, step)
