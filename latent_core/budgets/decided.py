"""Certain majority: stop once no further votes up to the horizon can change who leads."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from latent_core.budgets.base import BudgetRule, Decide, register_rule
from latent_core.budgets.gain_table import GainTables
from latent_core.budgets.prefix import Prefix
from latent_core.selection.estimators import BoolArray


@register_rule
class Decided(BudgetRule):
    """Goes on while the votes that are left, all given to the runner-up, would reach the leader.

    The majority vote of every question is the one that all samples up to the horizon would give.
    """

    kind: ClassVar[str] = "decided"

    @classmethod
    def replayed_at(cls, waves: tuple[int, ...]) -> tuple[int, ...]:
        """Return eighths of the horizon too: before its half is over nothing can be certain."""
        return tuple(sorted({*waves, *(waves[-1] * part // 8 for part in (5, 6, 7) if waves[-1] % 8 == 0)}))

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        """Return the decision; nothing needs to be fitted."""
        horizon = waves[-1]

        def go_on(seen: Prefix) -> BoolArray:
            ordered = np.sort(seen.counts, axis=1)
            return np.asarray(ordered[:, -1] - ordered[:, -2] <= horizon - seen.samples)

        return go_on
