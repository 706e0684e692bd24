"""Surrogate loss of a policy: log-likelihoods weighed by advantages, with importance ratios and a divergence.

Its gradient is that of -E[reward]; where rollouts are of older weights, with truncated importance ratios (Ionides 2008,
"Truncated Importance Sampling"), and with the clipped ones of PPO (arXiv 1707.06347) where they are asked for.
"""

import torch
from torch import Tensor

from latent_core.policy.settings import PolicySettings

_MOST = 20.0
"""Largest logarithm of a ratio that is looked at: the exponential of more says nothing and may be infinite."""


class Surrogate:
    """The loss of parts of an update, and what was measured on the way."""

    def __init__(self, settings: PolicySettings) -> None:
        """Start with nothing measured."""
        self._settings = settings
        self._sums = dict.fromkeys(("loss", "kl", "ratio", "clipped", "stale"), 0.0)

    def loss(self, likelihood: Tensor, advantages: Tensor, behaviour: Tensor | None, start: Tensor | None) -> Tensor:
        """Return the sum of the losses of some answers, a scalar.

        Args:
            likelihood: Their log-likelihoods, [rows, n], differentiable.
            advantages: [rows, n].
            behaviour: Log-likelihoods under the weights that sampled them, [rows, n]; None where these are the same.
            start: Those under the weights that training began with; None where they do not count.
        """
        losses = -advantages * likelihood
        if behaviour is not None:
            losses = self._stale(likelihood, advantages, behaviour)
        if start is not None:
            further = (start - likelihood).clamp(max=_MOST)
            # An estimate that is never below zero (Schulman 2020, "Approximating KL Divergence").
            divergence = further.exp() - 1 - further
            self._sums["kl"] += float(divergence.detach().sum())
            losses = losses + self._settings.kl * divergence
        total = losses.sum()
        self._sums["loss"] += float(total.detach())
        return total

    def add(self, other: "Surrogate") -> None:
        """Add what another one has measured."""
        for name, value in other._sums.items():
            self._sums[name] += value

    def numbers(self, answers: int) -> dict[str, float]:
        """Return means over so many answers; those of ratios are over the answers that have one."""
        numbers = {"loss": self._sums["loss"] / answers}
        if self._settings.kl:
            numbers["kl"] = self._sums["kl"] / answers
        if self._sums["stale"]:
            numbers["ratio"] = self._sums["ratio"] / self._sums["stale"]
            numbers["ratio_clipped"] = self._sums["clipped"] / self._sums["stale"]
        return numbers

    def _stale(self, likelihood: Tensor, advantages: Tensor, behaviour: Tensor) -> Tensor:
        cap, clip = self._settings.importance_cap, self._settings.clip
        ratio = (likelihood - behaviour).clamp(max=_MOST).exp()
        capped = ratio.clamp(max=cap)
        if clip is None:
            losses, outside = -advantages * capped.detach() * likelihood, ratio > cap
        else:
            followed, kept = capped * advantages, capped.clamp(1 - clip, 1 + clip) * advantages
            losses, outside = -torch.minimum(followed, kept), (ratio > cap) | (kept < followed)
        self._sums["stale"] += ratio.numel()
        self._sums["ratio"] += float(ratio.detach().sum())
        self._sums["clipped"] += float(outside.sum())
        return losses
