"""Which of all samples gives the answer: agreement with the estimates, and what becomes of ties and of nobody."""

import numpy as np
import pytest

from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.estimators import NO_CHOICE, best_scored, most_voted


def test_the_best_scored() -> None:
    scores = np.array([[0.1, 0.7, 0.7], [np.nan, -3.0, np.nan], [np.nan] * 3])
    assert best_scored(scores).tolist() == [1, 1, NO_CHOICE]


def test_the_most_voted() -> None:
    votes = np.array([[4, 2, 2, 4], [-1, -1, 7, -1], [-1] * 4, [3, 1, 1, 3]])
    assert most_voted(votes).tolist() == [0, 2, NO_CHOICE, 0]
    weights = np.array([[1.0, 0.4, 0.7, np.nan], [0.0] * 4, [1.0] * 4, [0.1, 0.3, 0.3, 0.2]])
    # A vote without weight is none, and neither is a heavy sample that does not vote.
    assert most_voted(votes, weights).tolist() == [1, NO_CHOICE, NO_CHOICE, 1]


def test_equal_sums_in_another_order_are_a_tie() -> None:
    votes = np.array([[0, 1, 0, 1, 0, 1]])
    assert 0.3 + 0.2 + 0.1 != 0.1 + 0.2 + 0.3
    assert most_voted(votes, np.array([[0.1, 0.3, 0.2, 0.2, 0.3, 0.1]])).tolist() == [0]


@pytest.mark.parametrize("name", [name for name in AGGREGATIONS if AGGREGATIONS[name].choice is not None])
def test_what_is_chosen_is_what_is_estimated(name: str) -> None:
    """At the largest budget, where no tie is possible, the estimate is whether the chosen answer is right."""
    generator = np.random.default_rng(0)
    questions, samples = 200, 7
    votes = generator.integers(-1, 3, (questions, samples))
    right = generator.integers(0, 3, questions)
    scores = generator.normal(size=(questions, samples))
    weights = np.exp(scores)
    correct = (votes == right[:, None]) & (votes >= 0)
    outcomes = Outcomes(correct, votes, scores, weights, scores + 1, weights * 2, scores - 2, weights / 3)
    aggregation = AGGREGATIONS[name]
    assert aggregation.choice is not None
    chosen = aggregation.choice(outcomes)
    estimate = aggregation(outcomes, samples)
    certain = (estimate == 0) | (estimate == 1)
    assert certain.sum() > questions / 2
    own = np.where(chosen == NO_CHOICE, False, outcomes.correct[np.arange(questions), chosen])
    assert (own[certain] == estimate[certain]).all()


def test_coverage_chooses_nothing() -> None:
    assert AGGREGATIONS["coverage"].choice is None
