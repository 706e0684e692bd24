"""Coverage: is a right answer among n samples, or among n guesses?"""

from collections.abc import Sequence

import numpy as np

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, check_budget


def pass_at_n(correct: BoolArray, n: int) -> FloatArray:
    """Estimate the probability that at least one of n samples is right.

    Chen et al. 2021, arXiv 2107.03374, eq. 1: 1 - C(N-c, n) / C(N, n) for c right samples of N. The ratio is the
    product of (i - n) / i over i = N-c+1 .. N, which needs no factorial.

    Args:
        correct: [Q, N], whether each sample's answer is right.
        n: Budget, at least 1.

    Returns:
        [Q], probabilities; NaN throughout where n > N.

    Raises:
        ValueError: If n < 1.
    """
    check_budget(n)
    questions, samples = correct.shape
    if n > samples:
        return np.full(questions, np.nan)
    i = np.arange(samples, 0, -1, dtype=np.float64)
    # Fewer than n wrong samples means that i runs past n: the product is exactly zero from there on.
    all_wrong = np.concatenate([[1.0], np.cumprod(np.maximum(i - n, 0.0) / i)])
    return np.asarray(1.0 - all_wrong[correct.sum(axis=1)], dtype=np.float64)


def guess_coverage(chances: Sequence[float], n: int) -> FloatArray:
    """Probability that n independent guesses contain a right answer.

    Args:
        chances: Q probabilities that one guess at the question is right.
        n: Number of guesses, at least 1.

    Returns:
        [Q], 1 - (1 - p)^n with p the question's chance.

    Raises:
        ValueError: If n < 1, or if a chance is not a probability.
    """
    check_budget(n)
    p = np.asarray(chances, dtype=np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError(f"guess chances must be probabilities, got values from {p.min()} to {p.max()}")
    with np.errstate(divide="ignore"):  # p = 1 is a certain hit: log1p(-1) = -inf is what the formula wants
        return np.asarray(-np.expm1(n * np.log1p(-p)), dtype=np.float64)
