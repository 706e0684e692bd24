"""Leave-one-out advantages leave the gradient of the expected reward what it is, by brute force over all draws."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from latent_core.policy.baselines import BASELINES, group_normalized, leave_one_out

LOGITS = np.array([0.3, -0.7, 0.5])
REWARDS = np.array([1.0, 0.0, 0.4])


def shares() -> NDArray[np.float64]:
    weights = np.exp(LOGITS)
    return weights / weights.sum()


def score(answer: int) -> NDArray[np.float64]:
    """Gradient of log p(answer) by the logits."""
    return np.eye(len(LOGITS))[answer] - shares()


def expected_gradient() -> NDArray[np.float64]:
    """Gradient of the expected reward by the logits."""
    return sum((shares()[answer] * REWARDS[answer] * score(answer) for answer in range(len(LOGITS))), np.zeros(3))


def estimate(name: str, answers: int) -> NDArray[np.float64]:
    """Expectation of mean(advantage x score) over all ways to draw so many answers."""
    total = np.zeros(len(LOGITS))
    for drawn in product(range(len(LOGITS)), repeat=answers):
        advantages = BASELINES[name](REWARDS[list(drawn)][None])[0]
        gradient = np.mean([weight * score(one) for weight, one in zip(advantages, drawn, strict=True)], axis=0)
        total += np.prod(shares()[list(drawn)]) * gradient
    return total


@pytest.mark.parametrize("answers", [2, 3, 5])
def test_leave_one_out_is_unbiased(answers: int) -> None:
    np.testing.assert_allclose(estimate("leave_one_out", answers), expected_gradient(), atol=1e-12)


def test_the_mean_of_the_group_with_the_answer_itself_would_be_biased() -> None:
    """So the test above can tell the two apart."""
    assert np.abs(estimate("group_normalized", 3) - expected_gradient()).max() > 0.01


def test_what_is_normalised_has_deviation_one() -> None:
    advantages = group_normalized(np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(advantages, [[-1, 1, 1, -1], [0, 0, 0, 0]])


def test_an_answer_alone_has_no_advantage() -> None:
    assert leave_one_out(np.array([[1.0]])).tolist() == [[0.0]]
