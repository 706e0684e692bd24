"""Accuracy of a policy question by question, and what it has gained over its start. numpy alone."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latent_core.columns import ColumnBatch
from latent_core.selection.intervals import mean_interval, paired_difference

MEASURES = ("greedy", "mean", "majority", "coverage")
"""What is measured, by the names of `Validation`."""


class Judged(NamedTuple):
    """One question.

    Attributes:
        question_id: Its name.
        greedy: Whether the undisturbed trajectory is right.
        mean: Share of samples that are right.
        majority: Credit of the vote of all samples.
        coverage: Whether any sample is right.
    """

    question_id: str
    greedy: float
    mean: float
    majority: float
    coverage: float


@dataclass(frozen=True, eq=False)
class Validation(ColumnBatch[Judged]):
    """Questions, column by column.

    Attributes:
        question_id: As in `Judged`, as all that follows.
        greedy: float64 [questions], in [0, 1].
        mean: float64 [questions], in [0, 1].
        majority: float64 [questions], in [0, 1].
        coverage: float64 [questions], in [0, 1].
    """

    question_id: list[str]
    greedy: NDArray[np.float64]
    mean: NDArray[np.float64]
    majority: NDArray[np.float64]
    coverage: NDArray[np.float64]

    def _row(self, row: int) -> Judged:
        return Judged(self.question_id[row], *(float(getattr(self, name)[row]) for name in MEASURES))


def compare(now: Validation, start: Validation | None = None) -> dict[str, float]:
    """Return means over questions and paired differences from the start, as fractions of 1, with 95 % intervals.

    Args:
        now: The policy.
        start: The reasoner that its training began with, on the same questions in any order; None for no differences.

    Returns:
        Such as `greedy`, `greedy_lo`, `greedy_hi` and `greedy_gain`, `greedy_gain_lo`, `greedy_gain_hi`, for every
        measure.

    Raises:
        ValueError: If the questions differ.
    """
    numbers: dict[str, float] = {}
    before = None if start is None else _in_order_of(now, start)
    for name in MEASURES:
        values = getattr(now, name)
        numbers |= _named(name, *mean_interval(values))
        if before is not None:
            numbers |= _named(f"{name}_gain", *paired_difference(values, getattr(before, name)))
    return numbers


def _named(name: str, value: float, lo: float, hi: float) -> dict[str, float]:
    return {name: value, f"{name}_lo": lo, f"{name}_hi": hi}


def _in_order_of(one: Validation, other: Validation) -> Validation:
    place = {question_id: row for row, question_id in enumerate(other.question_id)}
    if len(place) != len(one) or set(place) != set(one.question_id):
        raise ValueError("a paired difference needs the same questions on both sides")
    return other.take(np.array([place[question_id] for question_id in one.question_id]))
