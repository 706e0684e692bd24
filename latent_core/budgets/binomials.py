"""Logarithms of factorials and tails of fair coins, for whole numbers: all that rules need of the gamma function."""

from functools import lru_cache

import numpy as np

from latent_core.selection.estimators import FloatArray


@lru_cache(maxsize=64)
def log_factorials(most: int) -> FloatArray:
    """Return log n! for n = 0, ..., most, [most + 1]."""
    return np.concatenate([[0.0], np.log(np.arange(1, most + 1)).cumsum()])


@lru_cache(maxsize=64)
def log_fair_tail(most: int) -> FloatArray:
    """Return log P(at most k heads among n tosses of a fair coin), [most + 1, most + 1]; 0 where k >= n."""
    log = log_factorials(most)
    n, k = np.indices((most + 1, most + 1))
    terms = np.where(k <= n, log[n] - log[k] - log[np.maximum(n - k, 0)] - n * np.log(2.0), -np.inf)
    return np.asarray(np.minimum(np.logaddexp.accumulate(terms, axis=1), 0.0))
