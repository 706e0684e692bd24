"""Baselines: what the reward of an answer is compared with, so that its gradient has less variance."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from latent_core.registry import Registry

Advantages = NDArray[np.float64]
Baseline = Callable[[Advantages], Advantages]
"""Takes rewards [questions, answers], NaN where an answer does not count, to advantages of the same shape."""

BASELINES: Registry[Baseline] = Registry("baseline")
"""Baselines by the name that settings call them."""


def leave_one_out(rewards: Advantages) -> Advantages:
    """Reward minus the mean reward of the other answers of the question (Kool et al. 2019; RLOO, arXiv 2402.14740).

    What an answer is compared with does not depend on it, so the gradient stays unbiased.

    Args:
        rewards: [questions, answers]; NaN where an answer does not count.

    Returns:
        [questions, answers]; 0 where an answer does not count or is alone.
    """
    number = (~np.isnan(rewards)).sum(axis=1, keepdims=True)
    centred = rewards - _mean(rewards)
    return np.where(np.isnan(centred), 0.0, centred * number / np.maximum(number - 1, 1))


def group_normalized(rewards: Advantages) -> Advantages:
    """Reward minus the mean of the question's answers, over their standard deviation (GRPO, arXiv 2402.03300).

    Args:
        rewards: [questions, answers]; NaN where an answer does not count.

    Returns:
        [questions, answers]; 0 where all answers are alike.
    """
    centred = rewards - _mean(rewards)
    number = (~np.isnan(rewards)).sum(axis=1, keepdims=True)
    deviation = np.sqrt(np.nansum(centred**2, axis=1, keepdims=True) / np.maximum(number, 1))
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)
    return np.where(np.isnan(scaled), 0.0, scaled)


def _mean(rewards: Advantages) -> Advantages:
    number = (~np.isnan(rewards)).sum(axis=1, keepdims=True)
    mean: Advantages = np.nansum(rewards, axis=1, keepdims=True) / np.maximum(number, 1)
    return mean


BASELINES.register("leave_one_out", leave_one_out)
BASELINES.register("group_normalized", group_normalized)
