"""Within-question AUC by latent step: from which step on a LatentRM tells right from wrong beginnings. numpy alone."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from latent_core.selection.estimators import BoolArray, FloatArray, within_question_auc

TELLING_AUC: Final = 0.7
"""AUC from which on a search prunes; 0.5 is chance."""


def auc_by_step(step_rewards: FloatArray, correct: BoolArray) -> tuple[float, ...]:
    """Return the within-question AUC of the cumulative reward r_1 + .. + r_t, for t = 1 .. T.

    Args:
        step_rewards: [Q, N, T], 0 beyond a row's length; NaN for rows that failed.
        correct: [Q, N], whether each row's answer is right.

    Returns:
        T values in [0, 1]; NaN throughout if no question has right and wrong rows.
    """
    totals = step_rewards.cumsum(axis=2)
    return tuple(within_question_auc(totals[:, :, step], correct).mean for step in range(totals.shape[2]))


def first_telling_step(areas: Sequence[float], latent_steps: int) -> int:
    """Return the first step whose AUC reaches `TELLING_AUC`, of T latent steps; T where none does.

    Pruning at T alone drops nothing that could still become right: it is best-of-N, of which the best few are written.
    """
    reached = np.flatnonzero(np.asarray(areas) >= TELLING_AUC)
    return min(int(reached[0]) + 1, latent_steps) if len(reached) else latent_steps
