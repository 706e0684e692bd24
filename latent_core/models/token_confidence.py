"""Token confidence: log-probability of a chosen token, and entropy of the distribution that it was chosen from.

With logits z, the largest m and S = sum exp(z - m), the log-probability of a token is z_token - m - log S, and the
entropy is log S - sum (z - m) exp(z - m) / S. Both sums are taken piece by piece, so that a head in pieces has no need
of all logits at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from latent_core.models.invariant_layers import VECTOR_ELEMENTS

_FAR_BELOW = -1e4
"""Stands for logits that are lower than the largest one by more: they have no probability, and no infinity comes in."""
_NUMBERS_AT_ONCE = 1 << 16
"""Logits whose sums are taken at a time: they stay in a processor's own cache."""
_ROWS_AT_ONCE = 256
"""Rows of whole vocabularies of which copies are made at a time."""


@dataclass(frozen=True)
class TokenConfidence:
    """How sure a model was of tokens that were chosen; natural logarithms, at temperature 1.

    Attributes:
        logprob: Log-probability of each token, float32 [rows].
        entropy: Entropy of the distribution that each was chosen from, in nats, float32 [rows].
    """

    logprob: Tensor
    entropy: Tensor

    @classmethod
    def of_logits(cls, logits: Tensor, tokens: Tensor) -> Self:
        """Return the confidence in tokens [rows] of logits [rows, vocabulary]."""
        chosen = logits.gather(1, tokens[:, None]).squeeze(1)
        sums, largest = [], []
        for some in logits.split(_ROWS_AT_ONCE):
            highest = some.amax(dim=-1)
            sums.append(exponential_sums(some.float().clamp(min=(highest.float() + _FAR_BELOW)[:, None]), highest))
            largest.append(highest)
        return cls.of_pieces([torch.cat(largest)], [torch.cat(sums)], chosen)

    @classmethod
    def of_pieces(cls, largest: Sequence[Tensor], sums: Sequence[Tensor], chosen: Tensor) -> Self:
        """Return the confidence in tokens whose logits are known piece by piece.

        Args:
            largest: The largest logit of each piece, [rows] each.
            sums: What `exponential_sums` says of each piece, [rows, 2] each.
            chosen: Logits of the tokens, [rows].
        """
        highest = torch.stack(list(largest), dim=1).float()
        total = highest.amax(dim=1)
        # Filled up to whole vectors in every row: see `exponential_sums`.
        below = _filled(highest - total[:, None]).clamp_(min=_FAR_BELOW)
        share = below.exp()
        by_piece = torch.stack(list(sums), dim=1)
        masses, moments = _filled(by_piece[..., 0], 0.0), _filled(by_piece[..., 1], 0.0)
        mass = (share * masses).sum(dim=1)
        moment = (share * (moments + below * masses)).sum(dim=1)
        log_mass = _filled(mass[None], 1.0).log()[0, : len(mass)]
        return cls(chosen.float() - total - log_mass, log_mass - moment / mass)


def exponential_sums(logits: Tensor, largest: Tensor) -> Tensor:
    """Return sum exp(z - m) and sum (z - m) exp(z - m), float32 [rows, 2], of finite z [rows, n] and m [rows].

    What is in z is lost: fresh memory for every piece of a head would cost as much as the sums.
    """
    at_once = max(1, _NUMBERS_AT_ONCE // logits.shape[-1])
    sums = [_sums(*some) for some in zip(logits.split(at_once), largest.split(at_once), strict=True)]
    return sums[0] if len(sums) == 1 else torch.cat(sums)


def _sums(logits: Tensor, largest: Tensor) -> Tensor:
    # Functions of elements are computed by whole vectors, and what is left over at the end of a tensor by other
    # formulas: rows of whole vectors have the same bits wherever they stand.
    below = _filled(logits.float().sub_(largest.float()[:, None]))
    weights = below.exp()
    return torch.stack([weights.sum(dim=-1), weights.mul_(below).sum(dim=-1)], dim=-1)


def _filled(rows: Tensor, value: float = _FAR_BELOW) -> Tensor:
    missing = -rows.shape[-1] % VECTOR_ELEMENTS
    return nn.functional.pad(rows, (0, missing), value=value) if missing else rows
