"""The arrays that estimators take, and what all of them check."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def check_budget(n: int) -> None:
    """Refuse a budget of no samples.

    Raises:
        ValueError: If n < 1.
    """
    if n < 1:
        raise ValueError(f"a budget is at least one sample per question, got n={n}")


def check_shapes(correct: BoolArray, **others: NDArray[Any]) -> None:
    """Refuse arrays that are not all [Q, N].

    Raises:
        ValueError: If a shape differs from that of `correct`.
    """
    for name, array in others.items():
        if correct.ndim != 2 or array.shape != correct.shape:
            raise ValueError(f"{name} {array.shape} and correct {correct.shape} must both be [questions, samples]")
