"""Holm's correction of p-values for the number of tests (Holm 1979, "A simple sequentially rejective procedure")."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values in the order given: below a level exactly where the family-wise error stays below it.

    The smallest of m is multiplied by m, the next one by m - 1, and so on; none may be smaller than the one before.

    Args:
        p_values: Of the tests of one family, dependent or not; each in [0, 1].
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
