"""Whether two demos come to the same."""

import pandas as pd

from benchmarks.demo import same_curves

CURVES = pd.DataFrame({"trial": ["greedy", "noise", "noise"], "n": [1, 1, 2], "value": [0.5, 0.25, 0.75]})


def test_curves_are_the_same_in_any_order_and_beside_new_columns() -> None:
    assert same_curves(CURVES, CURVES[::-1].assign(flops=1.0))


def test_curves_that_differ_in_a_number_or_a_row_are_not_the_same() -> None:
    assert not same_curves(CURVES, CURVES.assign(value=[0.5, 0.25, 0.7501]))
    assert not same_curves(CURVES, CURVES[:2])
