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

_NOTHING = 1e-9
"""Standard deviation of rewards that are equal but for rounding."""


def leave_one_out(rewards: Advantages) -> Advantages:
    """Reward minus the mean reward of the other answers of the question (RLOO, arXiv 2402.14740).

    What an answer is compared with does not depend on it, so the gradient stays unbiased.

    Args:
        rewards: [questions, answers].

    Returns:
        [questions, answers]; 0 for an answer that is alone.
    """
    answers = rewards.shape[1]
    centred: Advantages = rewards - rewards.mean(axis=1, keepdims=True)
    advantages: Advantages = centred * (answers / max(answers - 1, 1))
    return advantages


def group_normalized(rewards: Advantages) -> Advantages:
    """Reward minus the mean of the question's answers, over their standard deviation (GRPO, arXiv 2402.03300).

    Args:
        rewards: [questions, answers].

    Returns:
        [questions, answers]; 0 where all answers earn the same.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    deviation = rewards.std(axis=1, keepdims=True)
    advantages: Advantages = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > _NOTHING)
    return advantages


BASELINES.register("leave_one_out", leave_one_out)
BASELINES.register("group_normalized", group_normalized)
