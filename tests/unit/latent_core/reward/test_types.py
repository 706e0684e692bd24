"""Scores as records."""

import numpy as np
import pytest

from latent_core.reward.types import Score


def test_a_score_is_the_sum_over_steps_and_the_answer_comes_on_top() -> None:
    steps = np.array([0.5, -1.25, 3.0], dtype=np.float32)
    blind = Score(steps, None, 1.0, 2.0, 0.0, 0.1)
    assert (blind.score, blind.answer_score) == (2.25, None)
    aware = Score(steps, -0.25, 1.0, 2.0, 3.0, 0.1)
    assert (aware.score, aware.answer_score) == (2.25, 2.0)


def test_many_steps_are_summed_without_loss() -> None:
    """In float32 small rewards behind a large one would vanish."""
    steps = np.array([1e8, *[1.0] * 64], dtype=np.float32)
    assert Score(steps, None, 0.0, 0.0, 0.0, 0.0).score == pytest.approx(1e8 + 64, abs=0)


def test_a_failure_has_no_score() -> None:
    failed = Score.failed("RuntimeError: no")
    assert (failed.score, failed.answer_score, failed.error) == (None, None, "RuntimeError: no")
    assert failed.prompt_flops == failed.flops == failed.answer_flops == 0
