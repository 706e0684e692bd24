"""Weighted vote over n of N samples: averaged over random n-subsets where there are too many to enumerate.

Totals of real weights have no common unit, so that the generating functions of the plain vote would have as many terms
as there are subsets. Questions whose votes all weigh the same are counted exactly all the same.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from latent_core.selection.estimators.answers import answer_counts, dense_ranks
from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray, check_budget, check_shapes
from latent_core.selection.estimators.majority import majority_at_n

DEFAULT_DRAWS = 256
# Bytes of the largest temporary array: small enough to stay in a processor's cache for the usual shapes, far below any
# memory limit for all of them.
_CHUNK_BYTES = 1 << 23
# Sums of equal weights differ in their last bits by the order of addition (at most 4096 * 2^-53 for 4096 samples).
# What differs by less than this share is a tie.
_TIE = 1e-9


def weighted_vote_at_n(
    votes: IntArray,
    correct: BoolArray,
    weights: FloatArray,
    n: int,
    *,
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
) -> FloatArray:
    """Estimate the accuracy of the vote in which each of n samples has a weight of its own.

    The answer with the largest total weight wins (Li et al. 2023, arXiv 2206.02336). Ties are as in `majority_at_n`,
    which equal weights reproduce exactly. Only the proportions of the weights within a question matter. The average
    runs over all n-subsets where there are at most `draws` of them (and always for n = 1), else over `draws` random
    ones: the same for every question, and nested across n, so that neighbouring budgets differ by less noise than each
    carries. The standard error that this leaves in a question's value is at most 0.5 / sqrt(draws).

    Args:
        votes: [Q, N], answer codes >= 0 that mean something within their question only; -1 does not vote.
        correct: [Q, N], whether each sample's answer is right; without meaning where nobody votes.
        weights: [Q, N], finite and >= 0; a sample of weight 0 does not vote.
        n: Budget, at least 1.
        draws: Number of random subsets, and the number up to which subsets are enumerated instead.
        seed: Seed of the random subsets.

    Returns:
        [Q], expected credit in [0, 1]; NaN throughout where n > N.

    Raises:
        ValueError: As for `majority_at_n`, or if a weight is negative or not finite.
    """
    check_shapes(correct, votes=votes, weights=weights)
    if not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise ValueError("vote weights must be finite and not negative")
    check_budget(n)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    questions, samples = votes.shape
    if n > samples:
        return np.full(questions, np.nan)
    voting = np.where(weights > 0.0, votes, -1)
    ranks = dense_ranks(voting)
    _, right = answer_counts(ranks, correct)
    if n == 1:
        return majority_at_n(voting, correct, 1)
    # At most 1 each, so that no total overflows.
    shares = weights / np.maximum(weights.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    credit = np.empty(questions)
    plain = ((shares >= 1.0 - _TIE) | (voting < 0)).all(axis=1)
    credit[plain] = majority_at_n(voting[plain], correct[plain], n)
    credit[~plain] = _mean_credit(ranks[~plain], right[~plain], shares[~plain], _subsets(samples, n, draws, seed))
    return credit


def _mean_credit(ranks: IntArray, right: BoolArray, shares: FloatArray, members: BoolArray) -> FloatArray:
    """Mean credit [Q] over the subsets `members` [S, N], as many questions at a time as fit a processor's cache."""
    chosen = members.astype(np.float64)
    credit = np.empty(len(ranks))
    chunk = max(1, _CHUNK_BYTES // (right.shape[1] * max(chosen.shape) * chosen.itemsize))
    for start in range(0, len(ranks), chunk):
        block = slice(start, start + chunk)
        credit[block] = _plurality_credit(ranks[block], right[block], shares[block], chosen)
    return credit


def _subsets(samples: int, n: int, draws: int, seed: int) -> BoolArray:
    """Membership [S, N] of S subsets of size n: all of them where at most `draws` exist, else random ones."""
    if math.comb(samples, n) <= draws:
        chosen = np.array(list(itertools.combinations(range(samples), n)))
    else:
        chosen = np.random.default_rng(seed).random((draws, samples)).argsort(axis=1)[:, :n]
    members = np.zeros((len(chosen), samples), dtype=np.bool_)
    np.put_along_axis(members, chosen, True, axis=1)
    return members


def _plurality_credit(ranks: IntArray, right: BoolArray, shares: FloatArray, members: FloatArray) -> FloatArray:
    """Mean credit [q] over the subsets `members` [S, N], for ranks [q, N] and right answers [q, classes]."""
    questions, samples = ranks.shape
    classes = max(1, int(ranks.max(initial=-1)) + 1)
    # Questions come last: the reductions over classes then run over long contiguous rows.
    one_hot = (ranks.T[:, None, :] == np.arange(classes)[:, None]) * shares.T[:, None, :]
    totals = (members @ one_hot.reshape(samples, -1)).reshape(len(members), classes, questions)
    most = totals.max(axis=1)
    winners = totals >= (most * (1.0 - _TIE))[:, None, :]
    credit = np.where(most > 0, _count(winners & right.T[:classes]) / _count(winners), 0.0)
    return np.asarray(credit.mean(axis=0), dtype=np.float64)


def _count(flags: BoolArray) -> NDArray[np.uint16]:
    """Number of set flags [S, q] among those of all classes [S, classes, q], fewer than 65536 of them."""
    # Adding bytes into short numbers is twice as fast as what `sum` does with flags.
    return np.asarray(np.add.reduce(flags.view(np.uint8), axis=1, dtype=np.uint16))
