"""Aggregations are found by themselves, and refuse arrays that do not fit together."""

import numpy as np
import pytest

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes

OUTCOMES = Outcomes(
    correct=np.array([[True, False, True, False]]), votes=np.array([[3, 5, 3, -1]]), truth=np.array([3])
)


def test_each_file_of_the_package_is_an_entry() -> None:
    assert {"coverage", "majority_vote"} <= set(AGGREGATIONS)


# Of the six pairs of samples (3,3), (3,-) and (3,-) win, (3,5) and (3,5) tie, and (5,-) loses.
@pytest.mark.parametrize(("name", "value"), [("coverage", 5 / 6), ("majority_vote", (3 + 2 / 2) / 6)])
def test_two_of_four_samples(name: str, value: float) -> None:
    assert AGGREGATIONS[name](OUTCOMES, 2).item() == pytest.approx(value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'majority_vote'"):
        AGGREGATIONS["majority"]


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ValueError, match="votes has shape"):
        Outcomes(correct=np.zeros((2, 3), dtype=bool), votes=np.zeros((2, 2), dtype=int), truth=np.zeros(2, dtype=int))
