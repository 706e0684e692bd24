"""Whether two demos come to the same."""

import pandas as pd

from benchmarks.demo import other_values

CURVES = pd.DataFrame(
    {"trial": ["greedy", "noise", "noise"], "aggregation": ["greedy", "vote", "vote"], "n": [1, 1, 2], "value": 0.25}
)


def test_curves_are_compared_point_by_point_in_any_order_and_beside_points_of_one_alone() -> None:
    assert other_values(CURVES, CURVES[::-1].assign(lo=0.1)) == []
    assert other_values(CURVES, CURVES[:2]) == []


def test_an_aggregation_with_another_value_is_named() -> None:
    assert other_values(CURVES, CURVES.assign(value=[0.25, 0.25, 0.2501])) == ["vote"]
