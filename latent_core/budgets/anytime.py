"""Anytime-valid stopping: an e-process by betting, which holds however often one looks.

Every look at a running vote is another chance to be misled, and probabilities that are right for one look are not for
many. A gambler who bets on each sample as it comes, at odds that are fair under the null, is rich with probability at
most 1 / c at any time at all (Ville's inequality); so whoever stops only where the gambler is rich is rarely wrong
(Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference", arXiv 2210.01948; certificates of a
majority of samples of a language model are in arXiv 2510.17472 and 2605.05873).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from latent_core.budgets.base import BudgetRule, Decide, register_rule
from latent_core.budgets.binomials import log_factorials, log_fair_tail
from latent_core.budgets.gain_table import GainTables
from latent_core.budgets.prefix import Prefix
from latent_core.selection.estimators import BoolArray, FloatArray


@register_rule
class Anytime(BudgetRule):
    """Goes on until the leader is certified to be the most probable answer, whenever one looks.

    Null of answers i and j: i is not more probable than j. Among the samples behind the first one with i that give i or
    j, each is then i with probability at most 1/2. The wealth of a gambler who bets on i, averaged over constant bets
    that a share theta in [1/2, 1] of them is i, is

        E_ij = 2 * integral over theta in [1/2, 1] of (2 theta)^a (2 - 2 theta)^b,

    with a samples of i and b of j: a supermartingale under the null. The rule stops where E_ij >= r (r + 1) / alpha for
    the leader i, the r-th answer to have appeared, and every other answer j, one that nobody gave (b = 0) included.
    The stakes 1 / (r (r + 1)) sum to one, so with probability at least 1 - alpha no answer but the most probable one is
    ever certified, at whatever times one looks, and however many answers there are. Where several answers are most
    probable, hardly any is ever certified.

    Attributes:
        alpha: Probability of ever stopping at an answer that is not the most probable one.
    """

    kind: ClassVar[str] = "anytime"

    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)

    @classmethod
    def ladder(cls, waves: Sequence[int], aggregation: str) -> list[Self]:
        """Return from hasty to sure."""
        return [cls(alpha=one) for one in (0.5, 0.2, 0.05, 0.01)]

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        """Return the decision; nothing needs to be fitted."""
        log_alpha = float(np.log(self.alpha))

        def go_on(seen: Prefix) -> BoolArray:
            ranks, counts = seen.ranks, seen.counts
            rows, classes = counts.shape
            leader = counts.argmax(axis=1)
            voted = counts[np.arange(rows), leader] > 0
            first = (ranks == leader[:, None]).argmax(axis=1)
            behind = np.arange(seen.samples) > first[:, None]
            since = seen.totals(behind.astype(np.float64)).astype(np.int64)
            own = since[np.arange(rows), leader]
            rivals = np.where(np.arange(classes) == leader[:, None], 0, since)
            wealth = log_wealth(seen.samples)[own, rivals.max(axis=1)]
            # Answers of which a first sample lies before the leader's first one.
            places = np.where(ranks >= 0, np.arange(seen.samples), seen.samples)
            opened = np.full((rows, classes), seen.samples)
            np.minimum.at(opened, (np.arange(rows)[:, None], np.maximum(ranks, 0)), places)
            order = 1 + (opened < first[:, None]).sum(axis=1)
            return np.asarray(~voted | (wealth < np.log(order * (order + 1.0)) - log_alpha))

        return go_on


@lru_cache(maxsize=16)
def log_wealth(samples: int) -> FloatArray:
    """Logarithm of E_ij for a samples of i and b of j, [samples + 1, samples + 1]; minus infinity where a + b is more.

    The integral is an incomplete beta function of whole numbers: E = 2^(a+b+1) a! b! / (a+b+1)! P(X <= a), with X the
    heads among a + b + 1 tosses of a fair coin.
    """
    log, tail = log_factorials(samples + 1), log_fair_tail(samples + 1)
    a, b = np.indices((samples + 1, samples + 1))
    n = np.minimum(a + b + 1, samples + 1)
    found = n * np.log(2.0) + log[a] + log[b] - log[n] + tail[n, np.minimum(a, n)]
    return np.asarray(np.where(a + b <= samples, found, -np.inf))
