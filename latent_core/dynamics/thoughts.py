"""Decoded thoughts: how many different ones samples have, where they leave the greedy path, and what they explain.

A thought is the token that the output head finds most likely at a latent. Thoughts of a trajectory in a row are its
sequence; one that ended earlier goes on with `ENDED`, so that it has its sequence at every step.
"""

from typing import NamedTuple

import numpy as np

from latent_core.dynamics.block import ENDED, LatentArray
from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray


def sequence_codes(thoughts: IntArray) -> IntArray:
    """Return a number for every sequence of thoughts up to each step, [Q, N, T]: equal numbers, equal sequences.

    Numbers are of one question each, so that those of two questions never meet.

    Args:
        thoughts: [Q, N, T].
    """
    questions, samples, steps = thoughts.shape
    own = np.repeat(np.arange(questions, dtype=np.int64), samples)
    codes = np.empty((questions * samples, steps), np.int64)
    width = int(thoughts.max(initial=0)) - ENDED + 1
    for step in range(steps):
        _, own = np.unique(own * width + (thoughts[:, :, step].ravel() - ENDED), return_inverse=True)
        codes[:, step] = own
    return codes.reshape(questions, samples, steps)


def effective_number(codes: IntArray, counted: BoolArray) -> FloatArray:
    """Exponential of the entropy of what a question's samples have, [Q]: 1 if all are alike, N if none are.

    Of the samples at hand: N samples show N different things at most. NaN where none is counted.

    Args:
        codes: [Q, N], from 0 on; samples of one question with equal codes are alike.
        counted: [Q, N].
    """
    questions = codes.shape[0]
    row = np.nonzero(counted)[0]
    number = counted.sum(axis=1)
    pairs, times = np.unique(np.stack([row, codes[counted]]), axis=1, return_counts=True)
    shares = times / number[pairs[0]]
    entropy = np.bincount(pairs[0], weights=-shares * np.log(shares), minlength=questions)
    return np.where(number > 0, np.exp(entropy), np.nan)


class Departures(NamedTuple):
    """Where samples leave the greedy path.

    Attributes:
        first: [Q, N], index of the first step at which a sample's thought is not that of the greedy trajectory; T where
            there is none.
        compared: [Q, N], samples that did not fail, of questions whose greedy trajectory did not.
    """

    first: IntArray
    compared: BoolArray


def departures(thoughts: IntArray, greedy: IntArray, valid: BoolArray) -> Departures:
    """Compare thoughts [Q, N, T] of samples with those of the greedy trajectory [Q, T].

    Who ends earlier or later than it leaves it there.
    """
    differs = thoughts != greedy[:, None]
    first = np.where(differs.any(axis=2), differs.argmax(axis=2), thoughts.shape[2])
    return Departures(first, valid & (greedy != ENDED).any(axis=1)[:, None])


def variance_between(latents: LatentArray, present: BoolArray, thoughts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Split the variance of a question's latents at every step by the thoughts that they decode to.

    Args:
        latents: [Q, N, T, d], zeros where there is none.
        present: [Q, N, T].
        thoughts: [Q, N, T].

    Returns:
        Sums of squares [Q, T] of the means of equal thoughts about the question's mean, and of all latents about it.
    """
    questions, _, steps, width = latents.shape
    number = present.sum(axis=1)
    means = latents.sum(axis=1, dtype=np.float64) / np.maximum(number, 1)[..., None]
    squares = np.einsum("qntd,qntd->qt", latents, latents, dtype=np.float64)
    total = squares - number * (means**2).sum(axis=-1)
    # Equal latents differ from their mean by the last bits of a float32; those are no variance.
    total[total <= 1e-10 * squares] = 0.0
    between = np.zeros((questions, steps))
    spread = int(thoughts.max(initial=0)) - ENDED + 1
    for step in range(steps):
        row, sample = np.nonzero(present[:, :, step])
        if not len(row):
            continue
        keys = row * spread + (thoughts[row, sample, step] - ENDED)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        sums = np.add.reduceat(latents[row[order], sample[order], step], starts, axis=0, dtype=np.float64)
        counts = np.diff(np.append(starts, len(ordered)))
        owner = ordered[starts] // spread
        away = sums.reshape(-1, width) / counts[:, None] - means[owner, step]
        between[:, step] = np.bincount(owner, weights=counts * (away**2).sum(axis=1), minlength=questions)
    return np.where(total > 0, np.minimum(between, total), 0.0), total
