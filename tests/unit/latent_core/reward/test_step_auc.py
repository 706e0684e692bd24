"""From which step on a LatentRM can tell."""

import numpy as np
import pytest

from latent_core.reward.step_auc import auc_by_step, first_telling_step


def test_auc_by_step_is_of_what_has_been_summed_up() -> None:
    rewards = np.array([[[0.0, 3.0, -9.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    # The right row has 0, 3 and -6 so far; the wrong ones 1 and 2 throughout.
    assert auc_by_step(rewards, np.array([[True, False, False]])) == (0.0, 1.0, 0.0)


def test_failed_rows_and_questions_without_both_kinds_do_not_count() -> None:
    rewards = np.array([[[1.0], [0.0], [np.nan]], [[0.0], [1.0], [2.0]]])
    correct = np.array([[True, False, False], [True, True, True]])
    assert auc_by_step(rewards, correct) == (1.0,)


@pytest.mark.parametrize(
    ("areas", "steps", "expected"),
    [((0.5, 0.7), 2, 2), ((0.7, 0.2), 2, 1), ((0.5, 0.6), 3, 3), ((0.5, 0.5, 0.9), 2, 2)],
)
def test_the_first_step_that_reaches_seven_tenths(areas: tuple[float, ...], steps: int, expected: int) -> None:
    assert first_telling_step(areas, steps) == expected
