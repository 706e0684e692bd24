"""Dispersion and drift: how far samples of a question are apart, and how far from the greedy path. Pair estimators.

Sums over all pairs of N samples are made of sums over the samples: sum_{i != j} u_i . u_j = |sum u_i|^2 - sum |u_i|^2.
So they are exact at the cost of one pass, and unbiased: no vector is compared with itself, and what they estimate does
not depend on N.
"""

import numpy as np

from latent_core.dynamics.block import LatentArray
from latent_core.selection.estimators.arrays import BoolArray, FloatArray


def pairwise_cosine_distance(latents: LatentArray, present: BoolArray) -> FloatArray:
    """Mean of 1 - cos over all pairs of samples of a question, [Q, T], within [0, 2]; NaN with fewer than two.

    Args:
        latents: [Q, N, T, d].
        present: [Q, N, T]; a latent of length zero has no direction and is left out too.
    """
    lengths = np.sqrt(np.einsum("qntd,qntd->qnt", latents, latents, dtype=np.float64))
    counted = present & (lengths > 0)
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=counted)
    totals = np.einsum("qnt,qntd->qtd", inverse.astype(np.float32), latents).astype(np.float64)
    number = counted.sum(axis=1).astype(np.float64)
    cosines = _pair_means((totals**2).sum(axis=-1), number, number)
    # Equal samples differ by the last bits of a float32 from their own mean direction.
    distances: FloatArray = np.clip(1.0 - cosines, 0.0, 2.0)
    return np.where(distances < _ROUNDING, 0.0, distances)


def last_latents(latents: LatentArray, present: BoolArray) -> tuple[LatentArray, BoolArray]:
    """Return the last latent of every sample as [Q, N, 1, d], and where there is one as [Q, N, 1]."""
    steps = present.sum(axis=2)
    last = np.maximum(steps - 1, 0)[:, :, None, None]
    return np.take_along_axis(latents, last, axis=2), (steps > 0)[:, :, None]


def distance_of_mean(
    latents: LatentArray, present: BoolArray, greedy: LatentArray, greedy_present: BoolArray
) -> FloatArray:
    """Distance of the mean of a question's samples from its greedy latent, over the length of the latter, [Q, T].

    It holds what is left of the noise in a mean of N samples: 1 / sqrt(N) of it. `squared_shift` does not.
    NaN where there is no sample or no greedy latent.

    Args:
        latents: [Q, N, T, d], zeros where there is none.
        present: [Q, N, T].
        greedy: [Q, T, d].
        greedy_present: [Q, T].
    """
    number = present.sum(axis=1)
    means = latents.sum(axis=1, dtype=np.float64) / np.maximum(number, 1)[..., None]
    away = np.sqrt(((means - greedy) ** 2).sum(axis=-1))
    lengths = np.sqrt(np.einsum("qtd,qtd->qt", greedy, greedy, dtype=np.float64))
    known = (number > 0) & greedy_present & (lengths > 0)
    distances: FloatArray = np.divide(away, lengths, out=np.full(away.shape, np.nan), where=known)
    return distances


def squared_shift(
    latents: LatentArray, present: BoolArray, greedy: LatentArray, greedy_present: BoolArray
) -> FloatArray:
    """Unbiased square of the distance of the sampler's mean from the greedy latent, over its squared length, [Q, T].

    Mean over pairs of samples of (z_i - g) . (z_j - g): noise of mean zero adds nothing, however few samples there are.
    A single question may be below zero; means over questions are meant. NaN with fewer than two samples or without a
    greedy latent.
    """
    away = (latents - greedy[:, None]) * present[..., None]
    totals = away.sum(axis=1, dtype=np.float64)
    squares = np.einsum("qntd,qntd->qt", away, away, dtype=np.float64)
    number = present.sum(axis=1).astype(np.float64)
    lengths = np.einsum("qtd,qtd->qt", greedy, greedy, dtype=np.float64)
    known = greedy_present & (lengths > 0)
    means = _pair_means((totals**2).sum(axis=-1), squares, number)
    squared: FloatArray = np.divide(means, lengths, out=np.full(means.shape, np.nan), where=known)
    return squared


_ROUNDING = 1e-6


def _pair_means(squared_totals: FloatArray, squares: FloatArray, number: FloatArray) -> FloatArray:
    """Mean of x_i . x_j over all pairs i != j, from |sum x_i|^2, sum |x_i|^2 and their number; NaN below two."""
    pairs = number * (number - 1)
    means: FloatArray = np.divide(squared_totals - squares, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return means
