"""How far a mean over questions can be trusted: bootstrap intervals.

The questions are the sample from which one generalises, so they are what is resampled (Efron & Tibshirani, "An
Introduction to the Bootstrap", 1993, ch. 13, percentile intervals). The noise of sampling trajectories is part of each
question's value and is thereby included.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from latent_core.selection.estimators import FloatArray

DEFAULT_LEVEL = 0.95
DEFAULT_RESAMPLES = 2000
_CHUNK_ELEMENTS = 1 << 20


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


def bootstrap_interval(
    values: FloatArray,
    *,
    level: float = DEFAULT_LEVEL,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Mean over questions with a percentile bootstrap interval.

    Resamples depend on the seed and on Q alone: two curves over the same questions are resampled alike.

    Where all values are equal every resample is the same, and a percentile interval of width zero would claim
    certainty (100 % of 20 questions is not a proof of 100 %). There the interval rests on the share of questions that
    have this value: all Q of Q, hence at least Q / (Q + z^2) by Wilson's score interval (Wilson 1927), and the rest
    could lie anywhere within `bounds`. For all-right and all-wrong questions this is Wilson's interval itself.

    Args:
        values: [Q], one value per question, Q >= 1.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        bounds: Least and greatest possible value of a question.

    Returns:
        The interval; all NaN where any value is NaN.

    Raises:
        ValueError: If there is no question, a value lies outside the bounds, or a setting is out of range.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs one value per question, got shape {values.shape}")
    if not 0.0 < level < 1.0 or resamples < 1:
        raise ValueError(f"level must be in (0, 1) and resamples at least 1, got {level} and {resamples}")
    if np.isnan(values).any():
        return Interval(np.nan, np.nan, np.nan)
    least, greatest = float(values.min()), float(values.max())
    if least < bounds[0] - 1e-9 or greatest > bounds[1] + 1e-9:
        raise ValueError(f"values from {least} to {greatest} lie outside the bounds {bounds}")
    # Estimates of the same number may differ in their last bit, which is no information about the spread.
    if greatest - least <= 1e-12:
        return _constant_interval(float(values.mean()), len(values), level, bounds)
    tail = (1.0 - level) / 2
    lo, hi = np.quantile(_resampled_means(values, resamples, seed), [tail, 1.0 - tail])
    return Interval(float(values.mean()), float(lo), float(hi))


def paired_difference(
    a: FloatArray,
    b: FloatArray,
    *,
    level: float = DEFAULT_LEVEL,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a - b over the same questions with its interval.

    Pairing removes the differences between questions, which usually dwarf those between settings: two overlapping
    intervals can still hide a clear difference.

    Args:
        a: [Q], values in [0, 1], one per question.
        b: [Q], values in [0, 1] of the same questions in the same order.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The interval of the difference, within [-1, 1]; all NaN where any value is NaN.

    Raises:
        ValueError: If the shapes differ, or as for `bootstrap_interval`.
    """
    if a.shape != b.shape:
        raise ValueError(f"a paired difference needs the same questions on both sides, got {a.shape} and {b.shape}")
    return bootstrap_interval(a - b, level=level, resamples=resamples, seed=seed, bounds=(-1.0, 1.0))


def _resampled_means(values: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Means [resamples] over questions drawn with replacement, a bounded number of resamples at a time."""
    rng = np.random.default_rng(seed)
    questions = len(values)
    chunk = max(1, _CHUNK_ELEMENTS // questions)
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    return np.concatenate([values[rng.integers(0, questions, (size, questions))].mean(axis=1) for size in sizes])


def _constant_interval(value: float, questions: int, level: float, bounds: tuple[float, float]) -> Interval:
    """The interval where all questions share one value: Wilson's bound on the share of questions that do."""
    z = NormalDist().inv_cdf((1.0 + level) / 2)
    share = questions / (questions + z * z)
    return Interval(value, share * value + (1.0 - share) * bounds[0], share * value + (1.0 - share) * bounds[1])
