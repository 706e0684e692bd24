"""How far a mean over questions can be trusted: intervals with pseudo-questions.

The questions are the sample from which one generalises, so the spread between their values is what makes the interval.
The noise of sampling trajectories is part of each question's value and is thereby included.

Near the bounds the values at hand say too little: where no rare question is among them they are nearly equal, and an
interval of their spread alone, bootstrapped or not, has almost no width and misses the truth up to five times in six.
Agresti & Coull (1998, "Approximate is better than exact", The American Statistician 52) add questions that were
never asked, two of them right and two wrong; for shares this is nearly Wilson's interval (Wilson 1927), and it serves
any bounded values. `benchmarks/results/intervals.md` compares it with others.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from latent_core.selection.estimators import FloatArray

DEFAULT_LEVEL = 0.95
UNIT_BOUNDS = (0.0, 1.0)
DIFFERENCE_BOUNDS = (-1.0, 1.0)
_AT_EACH_UNIT_BOUND = 2
# The bounds are twice as far apart: half as many pseudo-questions widen the interval enough.
_AT_EACH_DIFFERENCE_BOUND = 1


class Interval(NamedTuple):
    """A mean and the interval that covers it; all three are NaN where the mean is unknown.

    Attributes:
        value: The mean over questions.
        lo: Lower end.
        hi: Upper end.
    """

    value: float
    lo: float
    hi: float


def mean_value(values: FloatArray, bounds: tuple[float, float] = UNIT_BOUNDS) -> float:
    """Mean over questions [Q] as `mean_interval` gives it, without the work of an interval; NaN where any is NaN."""
    # Values are sums: their last bits must not carry the mean out of the bounds.
    return float(np.clip(values.mean(), *bounds))


def mean_interval(
    values: FloatArray, *, level: float = DEFAULT_LEVEL, bounds: tuple[float, float] = UNIT_BOUNDS
) -> Interval:
    """Mean over questions, with the interval that two pseudo-questions at each bound give.

    The value is the plain mean. It lies within the interval, which need not be symmetric about it: near a bound it
    reaches farther to the inside.

    Args:
        values: [Q], one value per question, Q >= 1.
        level: Confidence level, between 0 and 1.
        bounds: Least and greatest possible value of a question; where they are equal nothing is uncertain.

    Returns:
        The interval, within the bounds; all NaN where any value is NaN.

    Raises:
        ValueError: If there is no question, a value lies outside the bounds, or the level is out of range.
    """
    return _interval(values, level, bounds, _AT_EACH_UNIT_BOUND)


def paired_difference(a: FloatArray, b: FloatArray, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Mean of a - b over the same questions with its interval, from one pseudo-question at each of -1 and 1.

    Pairing removes the differences between questions, which usually dwarf those between settings: two overlapping
    intervals can still hide a clear difference.

    Args:
        a: [Q], values in [0, 1], one per question.
        b: [Q], values in [0, 1] of the same questions in the same order.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval of the difference, within [-1, 1]; all NaN where any value is NaN.

    Raises:
        ValueError: If the shapes differ, or as for `mean_interval`.
    """
    if a.shape != b.shape:
        raise ValueError(f"a paired difference needs the same questions on both sides, got {a.shape} and {b.shape}")
    return _interval(a - b, level, DIFFERENCE_BOUNDS, _AT_EACH_DIFFERENCE_BOUND)


def _interval(values: FloatArray, level: float, bounds: tuple[float, float], at_each: int) -> Interval:
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs one value per question, got shape {values.shape}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if np.isnan(values).any():
        return Interval(np.nan, np.nan, np.nan)
    least, greatest = float(values.min()), float(values.max())
    if least < bounds[0] - 1e-9 or greatest > bounds[1] + 1e-9:
        raise ValueError(f"values from {least} to {greatest} lie outside the bounds {bounds}")
    z = NormalDist().inv_cdf((1.0 + level) / 2)
    value, lo, hi = pseudo_question_intervals(values, z, bounds, at_each)
    return Interval(float(value), float(lo), float(hi))


def pseudo_question_intervals(
    values: FloatArray, z: float, bounds: tuple[float, float], at_each: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Means of values [..., Q], and mean +- z sd / sqrt(number) with pseudo-questions among them, cut to the bounds.

    Args:
        values: [..., Q], values of the questions of each sample of questions.
        z: Standard normal quantile.
        bounds: Least and greatest possible value.
        at_each: Number of pseudo-questions at each bound.

    Returns:
        Plain means, lower and upper ends, [...] each; lo <= mean <= hi.
    """
    questions = values.shape[-1]
    total = questions + 2 * at_each
    # Values are sums: their last bits must not carry the mean out of the bounds.
    mean = np.clip(values.mean(axis=-1), *bounds)
    centre = (questions * mean + at_each * sum(bounds)) / total
    squares = ((values - centre[..., None]) ** 2).sum(axis=-1)
    squares = squares + at_each * ((bounds[0] - centre) ** 2 + (bounds[1] - centre) ** 2)
    half = z * np.sqrt(squares) / total
    # At low levels a mean on a bound could fall out of the interval about the shrunken centre.
    lo = np.minimum(np.maximum(centre - half, bounds[0]), mean)
    hi = np.maximum(np.minimum(centre + half, bounds[1]), mean)
    return mean, lo, hi
