"""How far a mean over questions can be trusted: intervals with pseudo-questions.

The questions are the sample from which one generalises, so the spread between their values is what makes the interval.
The noise of sampling trajectories is part of each question's value and is thereby included.

Near the bounds the values at hand say too little: where no rare question is among them they are nearly equal, and an
interval of their spread alone, bootstrapped or not, has almost no width and misses the truth up to five times in six.
Agresti & Coull (1998, "Approximate is better than exact", The American Statistician 52) add questions that were
never asked, two of them right and two wrong; for shares this is nearly Wilson's interval (Wilson 1927), and it serves
any bounded values. `benchmarks/results/intervals.md` compares it with others.
"""

import math
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


def paired_test(a: FloatArray, b: FloatArray) -> float:
    """Two-sided p-value of no difference, of the test that `paired_difference` inverts; NaN where any value is NaN.

    The interval at level 1 - p, before it is cut to its bounds and to the mean, ends at 0.

    Args:
        a: [Q], values in [0, 1], one per question.
        b: [Q], values in [0, 1] of the same questions in the same order.

    Raises:
        ValueError: If the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"a paired test needs the same questions on both sides, got {a.shape} and {b.shape}")
    values, at_each = a - b, _AT_EACH_DIFFERENCE_BOUND
    # Pseudo-questions at -1 and 1 move no sum.
    total = len(values) + 2 * at_each
    centre = values.sum() / total
    squares = ((values - centre) ** 2).sum() + at_each * ((1 + centre) ** 2 + (1 - centre) ** 2)
    return math.erfc(abs(float(centre)) * total / math.sqrt(2 * squares)) if squares == squares else math.nan


def unbounded_interval(
    values: FloatArray, *, level: float = DEFAULT_LEVEL, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Mean over questions of values that have no bounds, or lie far from them, with Student's interval.

    Distances and numbers of things are not shares: no rare question has a value far from all others, so their own
    spread says enough.

    Args:
        values: [Q], one value per question; NaN for a question that has none, which is left out.
        level: Confidence level, between 0 and 1.
        bounds: What the interval is cut to.

    Returns:
        The interval; without ends where fewer than two questions have a value, all NaN where none has.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else np.nan, np.nan, np.nan)
    mean = float(known.mean())
    half = _student(NormalDist().inv_cdf((1.0 + level) / 2), len(known) - 1) * float(known.std(ddof=1))
    half /= math.sqrt(len(known))
    return Interval(mean, min(mean, max(mean - half, bounds[0])), max(mean, min(mean + half, bounds[1])))


def ratio_interval(parts: FloatArray, wholes: FloatArray, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Share that parts are of wholes, summed over questions, with an interval over questions.

    The variance is that of a ratio of sums (Cochran 1977, "Sampling Techniques", section 6.4), with two
    pseudo-questions of average size at each of 0 and 1, as in `mean_interval`; where all wholes are equal it is that.

    Args:
        parts: [Q], each between 0 and its whole.
        wholes: [Q], at least 0; questions of size 0 add nothing.
        level: Confidence level, between 0 and 1.

    Returns:
        The interval, within [0, 1]; all NaN where all wholes are 0.

    Raises:
        ValueError: If a part is below 0 or above its whole.
    """
    if (parts < 0).any() or (parts > wholes * (1 + 1e-9)).any():
        raise ValueError("a part must be between 0 and its whole")
    sizes = wholes[wholes > 0]
    if not len(sizes):
        return Interval(np.nan, np.nan, np.nan)
    shares = np.minimum(parts[wholes > 0] / sizes, 1.0)
    sizes = sizes / sizes.mean()
    value = float(np.clip((shares * sizes).sum() / len(sizes), 0.0, 1.0))
    at_each = _AT_EACH_UNIT_BOUND
    total = len(sizes) + 2 * at_each
    centre = (len(sizes) * value + at_each) / total
    squares = ((sizes * (shares - centre)) ** 2).sum() + at_each * (centre**2 + (1.0 - centre) ** 2)
    half = NormalDist().inv_cdf((1.0 + level) / 2) * math.sqrt(squares) / total
    return Interval(value, min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value))


def _student(z: float, freedom: int) -> float:
    """Quantile of Student's t for a normal one: exact for 1 and 2 degrees of freedom, else within 1 % at 95 %.

    Abramowitz & Stegun, 26.7.5.
    """
    if freedom <= 2:
        upper = NormalDist().cdf(z)
        cauchy = math.tan(math.pi * (upper - 0.5))
        two = (2 * upper - 1) * math.sqrt(2 / (4 * upper * (1 - upper)))
        return cauchy if freedom == 1 else two
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


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
