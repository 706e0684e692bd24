"""Vocabulary mixtures: a latent as a weighted mean of token embeddings, weights from the next-token distribution.

Soft Thinking (arXiv 2505.15778) and the trained reasoners that feed such mixtures back. A step has three parts: the
distribution is filtered to `Candidates`; a sampler may change or draw among them; what is left is `Merged`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from latent_core.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

_FIRST_WIDTH, _GROWTH = 256, 8
"""A nucleus is looked for among so many of the most probable tokens, and among eight times as many while it is larger:
to sort a whole vocabulary takes longer than all the rest of a step."""


class ColdStop(Settings):
    """Thinking that ends when the model has been sure for a while (Soft Thinking).

    Attributes:
        entropy: Nats below which a step is sure, of the tempered distribution before any filter; 0 for never.
        steps: Sure steps in a row, the current one included, with which thinking ends.
    """

    entropy: float = Field(default=0.0, ge=0.0)
    steps: int = Field(default=256, ge=1)


class MixtureSettings(Settings):
    """How a next-token distribution becomes a mixture. Filters act in the order in which they stand here.

    Attributes:
        temperature: Divides the logits.
        top_k: Most tokens that stay; None for all.
        top_p: Smallest set of most probable tokens whose share of what is left reaches this stays.
        at_least: Most probable tokens that `top_p` always leaves.
        min_p: Tokens stay whose probability is at least this share of the highest.
        width: Most tokens that are merged: the most probable of those that have stayed.
        noise_before_width: Whether noise decides which tokens are merged; otherwise it changes the weights of the most
            probable ones only.
        noise_range: Smallest and largest draw of Gumbel noise, others are moved there; None for any. One-sided noise
            is moved up by the negative of the smallest.
        stop: Which token is compared with the end: the most probable one without noise ("clean"), with it ("noisy"),
            or both ("either").
        cold_stop: When sureness ends thinking.
    """

    temperature: float = Field(default=1.0, ge=1e-30)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    at_least: int = Field(default=1, ge=1)
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    width: int = Field(default=10, ge=1)
    noise_before_width: bool = False
    noise_range: tuple[float, float] | None = None
    stop: Literal["clean", "noisy", "either"] = "noisy"
    cold_stop: ColdStop = ColdStop()

    @model_validator(mode="after")
    def _range_in_order(self) -> MixtureSettings:
        if self.noise_range is not None and not self.noise_range[0] < self.noise_range[1]:
            raise ValueError("noise_range: the first number has to be below the second")
        return self


@dataclass(frozen=True)
class Merged:
    """What a latent is made of.

    Attributes:
        ids: Tokens, int64 [rows, n]; the one that stands for the step comes first.
        weights: Their weights, float32 [rows, n]; they add up to 1.
    """

    ids: Tensor
    weights: Tensor

    @property
    def best(self) -> Tensor:
        """The token that stands for the step, int64 [rows]."""
        return self.ids[:, 0]

    def embedded(self, embeddings: Tensor) -> Tensor:
        """Return the weighted mean, [rows, hidden size], of the embeddings, [rows, n, hidden size], of the tokens."""
        # Not a matrix product: sums of a fixed number of elements give a row the same bits whatever is beside it.
        return (self.weights[:, :, None] * embeddings.float()).sum(dim=1).to(embeddings.dtype)


@dataclass(frozen=True)
class Candidates:
    """Tokens that have passed the filters.

    Attributes:
        ids: int64 [rows, n]; the most probable first wherever something was filtered, else by their number.
        log_weights: Logarithms of their probabilities, up to a constant of each row; minus infinity for those that
            were filtered out, float32 [rows, n].
        clean: The most probable token before any noise, int64 [rows].
        entropy: Nats of the tempered distribution before any filter, float32 [rows]; None where nobody asks for it.
        settings: Where they come from.
    """

    ids: Tensor
    log_weights: Tensor
    clean: Tensor
    entropy: Tensor | None
    settings: MixtureSettings

    @classmethod
    def of(cls, logits: Tensor, settings: MixtureSettings) -> Candidates:
        """Filter next-token logits, [rows, vocabulary]."""
        tempered = logits.float() / settings.temperature
        entropy = None
        if settings.cold_stop.entropy > 0.0:
            log_probabilities = tempered.log_softmax(dim=-1)
            entropy = -(log_probabilities.exp() * log_probabilities).nan_to_num(nan=0.0).sum(dim=-1)
        ids, weights = _filtered(tempered, settings)
        # With a filter the first is the most probable; ties are then resolved as in the mixture.
        clean = logits.argmax(dim=-1) if ids is None else ids[:, 0]
        if ids is None:
            import torch

            ids = torch.arange(logits.shape[-1], device=logits.device).expand_as(weights)
        return cls(ids, weights, clean, entropy, settings)

    @property
    def probabilities(self) -> Tensor:
        """Their probabilities, float32 [rows, n], which add up to 1."""
        # In double precision, so that how many others stand behind a row's candidates does not show.
        return self.log_weights.double().softmax(dim=-1).float()

    @cached_property
    def chosen(self) -> Candidates:
        """The `width` most probable of them, the most probable first."""
        width = min(self.settings.width, self.ids.shape[-1])
        weights, places = self.log_weights.topk(width, dim=-1)
        return replace(self, ids=self.ids.gather(-1, places), log_weights=weights)

    @property
    def merged(self) -> Merged:
        """The mixture without noise."""
        chosen = self.chosen
        return Merged(chosen.ids, chosen.log_weights.softmax(dim=-1))

    def reweighted(self, log_weights: Tensor, temperature: float = 1.0) -> Merged:
        """Return the mixture of the `width` highest other log-weights, float32 [rows, n], over a temperature."""
        chosen = replace(self, log_weights=log_weights).chosen
        return Merged(chosen.ids, (chosen.log_weights / temperature).softmax(dim=-1))


def _filtered(tempered: Tensor, settings: MixtureSettings) -> tuple[Tensor | None, Tensor]:
    """Return the tokens that stay, None for all in their order, and their log-weights; see `Candidates`."""
    if settings.top_k is None and settings.top_p == 1.0 and settings.min_p == 0.0:
        return None, tempered
    if settings.top_k is not None:
        weights, ids = tempered.topk(min(settings.top_k, tempered.shape[-1]), dim=-1)
        kept = _in_nucleus(weights.softmax(dim=-1), settings)
    else:
        weights, ids, kept = _nucleus(tempered, settings)
    weights = weights.where(kept, float("-inf"))
    if settings.min_p > 0.0:
        # Shares of the highest are the same before and after renormalising.
        weights = weights.where((weights - weights[:, :1]).exp() >= settings.min_p, float("-inf"))
    return ids, weights


def _nucleus(tempered: Tensor, settings: MixtureSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Return the most probable tokens, as many as the largest nucleus of the rows has: weights, ids, which are in."""
    vocabulary = tempered.shape[-1]
    everything = tempered.logsumexp(dim=-1, keepdim=True)
    # Never narrower than the mixture, whose weights would else be added up in another order beside other rows.
    least = min(vocabulary, max(settings.at_least, settings.width))
    width = min(vocabulary, max(_FIRST_WIDTH, least))
    while True:
        weights, ids = tempered.topk(width, dim=-1)
        shares = (weights - everything).exp()
        kept = _in_nucleus(shares, settings)
        # Where the last one is out, so is everything behind it.
        if width == vocabulary or not bool(kept[:, -1].any()):
            longest = max(least, int(kept.sum(dim=-1).max()))
            return weights[:, :longest], ids[:, :longest], kept[:, :longest]
        width = min(vocabulary, width * _GROWTH)


def _in_nucleus(shares: Tensor, settings: MixtureSettings) -> Tensor:
    """Return which tokens are in the nucleus, bool [rows, n]; shares are in descending order."""
    if settings.top_p == 1.0:
        import torch

        return torch.ones_like(shares, dtype=torch.bool)
    # A token stays while the mass in front of it is short of top_p.
    kept = shares.cumsum(dim=-1) - shares < settings.top_p
    kept[:, : settings.at_least] = True
    return kept
