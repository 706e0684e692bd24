"""Choices: which of all the samples of a question gives the answer.

Estimates break ties at random; a choice that is shown to a person has to be one, and is the first in sample order.
"""

import numpy as np

from latent_core.selection.estimators.arrays import FloatArray, IntArray

NO_CHOICE = -1
"""Stands for the sample of a question in which nobody is chosen."""


def best_scored(scores: FloatArray) -> IntArray:
    """Return the sample with the highest score of every question, [Q]; `NO_CHOICE` where none has a score.

    Args:
        scores: [Q, N], higher is better; NaN has no score.
    """
    known = ~np.isnan(scores)
    best = np.where(known, scores, -np.inf).argmax(axis=1)
    return np.where(known.any(axis=1), best, NO_CHOICE).astype(np.int64)


def most_voted(votes: IntArray, weights: FloatArray | None = None) -> IntArray:
    """Return the first sample with the answer of the largest total weight, [Q]; `NO_CHOICE` where nobody votes.

    Args:
        votes: [Q, N], code of each sample's answer; -1 does not vote.
        weights: [Q, N], weight >= 0 of each vote; None for one each.
    """
    questions = len(votes)
    weighs = np.ones(votes.shape) if weights is None else np.nan_to_num(weights, nan=0.0)
    weighs = np.where(votes >= 0, weighs, 0.0)
    _, pair = np.unique(
        np.stack([np.repeat(np.arange(questions), votes.shape[1]), votes.ravel()]), axis=1, return_inverse=True
    )
    total = np.bincount(pair.ravel(), weighs.ravel())[pair.ravel()].reshape(votes.shape)
    # Sums of equal weights in another order differ in their last bits, and must stay ties.
    total = np.where(votes >= 0, np.round(total, 9), -1.0)
    first = total.argmax(axis=1)
    return np.where(total.max(axis=1) > 0, first, NO_CHOICE).astype(np.int64)
