"""Logarithms of factorials and tails of fair coins, for whole numbers: all that rules need of the gamma function."""

from functools import lru_cache

import numpy as np

from latent_core.selection.estimators import FloatArray


@lru_cache(maxsize=64)
def log_factorials(most: int) -> FloatArray:
    """Return log n! for n = 0, ..., most, [most + 1]."""
    return np.concatenate([[0.0], np.log(np.arange(1, most + 1)).cumsum()])
