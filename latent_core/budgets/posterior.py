"""Posterior stopping: stop once the leader will probably still lead at the horizon.

Adaptive-Consistency (Aggarwal et al. 2023, arXiv 2305.11860) stops when the leader is probably the more frequent answer
of a model that could be asked for ever. Here the question is who leads at the horizon, after as many samples as there
can be at most, which is what stopping early is compared with.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from latent_core.budgets.base import BudgetRule, Decide, register_rule
from latent_core.budgets.binomials import log_factorials
from latent_core.budgets.gain_table import GainTables
from latent_core.budgets.prefix import Prefix
from latent_core.selection.estimators import BoolArray


@register_rule
class Posterior(BudgetRule):
    """Goes on until the probability that the leader stays ahead of all other answers reaches `confidence`.

    Each rival is set against the leader by itself, with all other samples as a third outcome and a uniform Dirichlet
    prior over the three; the probabilities of being overtaken are added up (Bonferroni), and a tie counts half. An
    answer that nobody has given yet counts as one more rival.

    Attributes:
        confidence: Probability that is enough to stop; higher draws more.
    """

    kind: ClassVar[str] = "posterior"

    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)

    @classmethod
    def ladder(cls, waves: Sequence[int], aggregation: str) -> list[Self]:
        """Return from hasty to sure."""
        return [cls(confidence=one) for one in (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)]

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        """Return the decision; nothing needs to be fitted."""
        horizon, confidence = waves[-1], self.confidence

        def go_on(seen: Prefix) -> BoolArray:
            # Many prefixes have the same counts, and their order does not matter.
            ordered = -np.sort(-seen.counts, axis=1)
            distinct, which = np.unique(ordered, axis=0, return_inverse=True)
            left = horizon - seen.samples
            lost = [
                sum(
                    overtaking_probability(int(row[0]), int(rival), seen.samples, left)
                    for rival in (*row[1:][row[1:] > 0], 0)
                )
                for row in distinct
            ]
            return np.asarray(np.array(lost)[which.ravel()] > 1.0 - confidence)

        return go_on


@lru_cache(maxsize=1 << 18)
def overtaking_probability(leader: int, rival: int, seen: int, left: int) -> float:
    """Probability that a rival is ahead of the leader after further samples; a tie counts half.

    The three outcomes leader, rival and neither have a uniform Dirichlet prior, so that the further samples follow a
    Dirichlet-multinomial distribution: x for the leader and y for the rival have the probability
    C(left; x, y, z) B(a + x, b + y, c + z) / B(a, b, c), with z = left - x - y and one more than each count as a, b, c.

    Args:
        leader: Samples that gave the leader.
        rival: Samples that gave the rival.
        seen: All samples so far.
        left: Samples still to come.

    Returns:
        The probability, in [0, 1].
    """
    a, b, c = leader + 1, rival + 1, seen - leader - rival + 1
    # log of (n - 1)! stands at n - 1: arguments of the gamma function are all integers.
    log = log_factorials(seen + left + 3)
    x = np.arange(left + 1)[:, None]
    y = np.arange(left + 1)[None, :]
    z = np.maximum(left - x - y, 0)
    logs = (
        *(log[left] - log[x] - log[y] - log[z],),
        *(log[a + x - 1] - log[a - 1], log[b + y - 1] - log[b - 1], log[c + z - 1] - log[c - 1]),
        log[a + b + c - 1] - log[a + b + c + left - 1],
    )
    probability = np.where(x + y <= left, np.exp(sum(logs)), 0.0)
    lead = (leader + x) - (rival + y)
    return float((probability * ((lead < 0) + 0.5 * (lead == 0))).sum())
