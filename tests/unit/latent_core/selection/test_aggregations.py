"""Aggregations are found by themselves, say what they need, and refuse arrays that do not fit together."""

from dataclasses import replace

import numpy as np
import pytest

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Aggregation, Outcomes, available
from latent_core.selection.aggregations.base import register_aggregation

BARE = Outcomes(correct=np.array([[True, False, True, False]]), votes=np.array([[3, 5, 3, -1]]))
FULL = replace(
    BARE,
    scores=np.array([[0.0, 3.0, 2.0, np.nan]]),
    vote_weights=np.array([[1.0, 4.0, 2.0, 0.0]]),
    answer_scores=np.array([[3.0, 0.0, 2.0, 9.0]]),
    answer_vote_weights=np.array([[4.0, 1.0, 2.0, 9.0]]),
    confidences=np.array([[-0.5, -0.1, -3.0, np.nan]]),
    confidence_weights=np.array([[0.5, 0.9, 0.3, 0.0]]),
)
NAMES = (
    "coverage",
    "majority_vote",
    "best_confidence",
    "confidence_vote",
    "best_of_n",
    "weighted_vote",
    "best_of_n_answer",
    "weighted_vote_answer",
)


# Of the six pairs of samples (3,3), (3,-) and (3,-) win, (3,5) and (3,5) tie, and (5,-) loses. By scores the 5 wins
# all of its three pairs. By answer scores the sample that cannot be read wins all of its own, and the 5 none.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coverage", 5 / 6),
        ("majority_vote", (3 + 2 / 2) / 6),
        # By confidence the 5 wins all of its three pairs; with weights, too.
        ("best_confidence", 3 / 6),
        ("confidence_vote", 3 / 6),
        ("best_of_n", 3 / 6),
        ("weighted_vote", 3 / 6),
        ("best_of_n_answer", 3 / 6),
        ("weighted_vote_answer", 5 / 6),
    ],
)
def test_two_of_four_samples(name: str, value: float) -> None:
    assert AGGREGATIONS[name](FULL, 2).item() == pytest.approx(value)


def test_only_what_can_be_computed_is_available_and_scorers_are_kept_apart() -> None:
    assert available(BARE) == NAMES[:2]
    assert available(replace(FULL, answer_scores=None, answer_vote_weights=None)) == NAMES[:6]
    assert available(replace(FULL, scores=None, vote_weights=None)) == (*NAMES[:4], *NAMES[6:])
    assert available(replace(FULL, vote_weights=None)) == (*NAMES[:5], *NAMES[6:])
    assert available(replace(FULL, confidences=None, confidence_weights=None)) == (*NAMES[:2], *NAMES[4:])
    assert available(FULL) == NAMES
    assert set(AGGREGATIONS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES[2:])
def test_what_is_needed_and_missing_is_named(name: str) -> None:
    need = AGGREGATIONS[name].needs
    assert need is not None
    with pytest.raises(ValueError, match=f"no {need}$"):
        AGGREGATIONS[name](replace(FULL, **{need: None}), 2)


def test_the_scorer_whose_work_is_used() -> None:
    scorers = [AGGREGATIONS[name].scorer for name in NAMES]
    assert scorers == [None, None, None, None, "trajectory", "trajectory", "answer", "answer"]


@pytest.mark.parametrize("aggregation", [AGGREGATIONS[name] for name in AGGREGATIONS], ids=list(AGGREGATIONS))
def test_budgets_beyond_the_samples_are_unknown_and_below_one_refused(aggregation: Aggregation) -> None:
    assert np.isfinite(aggregation(FULL, 4)).all()
    assert aggregation(FULL, 5).shape == (1,)
    assert np.isnan(aggregation(FULL, 5)).all()
    with pytest.raises(ValueError, match="n=0"):
        aggregation(FULL, 0)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'majority_vote'"):
        AGGREGATIONS["majority"]


def test_a_name_is_taken_once() -> None:
    def coverage(outcomes: Outcomes, n: int) -> np.ndarray:
        return outcomes.correct[:, 0].astype(float)

    with pytest.raises(ValueError, match="'coverage'"):
        register_aggregation()(coverage)


@pytest.mark.parametrize("name", ["votes", "scores", "vote_weights", "answer_scores", "answer_vote_weights"])
def test_shapes_have_to_agree(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has shape"):
        replace(FULL, **{name: np.zeros((1, 3))})


def test_scores_are_finite_or_absent() -> None:
    with pytest.raises(ValueError, match="scores must be finite"):
        replace(BARE, scores=np.array([[0.0, 1.0, np.inf, np.nan]]))
