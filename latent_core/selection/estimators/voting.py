"""Votes: is the answer that most of n samples give, or that carries most of their weight, right?"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray, check_budget, check_shapes

DEFAULT_DRAWS = 256
# Bytes of the largest temporary array: small enough to stay in a processor's cache for the usual shapes, far below any
# memory limit for all of them.
_CHUNK_BYTES = 1 << 23
# Sums of equal weights differ in their last bits by the order of addition (at most 4096 * 2^-53 for 4096 samples).
# What differs by less than this share is a tie.
_TIE = 1e-9


def majority_at_n(
    votes: IntArray, correct: BoolArray, n: int, *, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> FloatArray:
    """Estimate the accuracy of the plurality vote over n samples (Wang et al. 2023, arXiv 2203.11171).

    A subset's credit is (number of winning answers that are right) / (number of winning answers): the expectation of
    breaking ties uniformly, without a look at what is right. Several answers of a question may be right; they do not
    support each other, because the vote cannot know that. A subset in which nobody votes earns nothing. The average
    runs over all n-subsets where there are at most `draws` of them (and always for n = 1), else over `draws` random
    ones: the same for every question, and nested across n, so that neighbouring budgets differ by less noise than each
    carries.

    Args:
        votes: [Q, N], answer codes >= 0 that mean something within their question only; -1 does not vote.
        correct: [Q, N], whether each sample's answer is right; without meaning where nobody votes.
        n: Budget, at least 1.
        draws: Number of random subsets, and the number up to which subsets are enumerated instead.
        seed: Seed of the random subsets.

    Returns:
        [Q], expected credit in [0, 1]; NaN throughout where n > N.

    Raises:
        ValueError: If n < 1 or draws < 1, if the shapes differ, or if an answer is called right in one sample of a
            question and wrong in another.
    """
    check_shapes(correct, votes=votes)
    return _vote(votes, correct, None, n, draws, seed)


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

    The answer with the largest total weight wins (Li et al. 2023, arXiv 2206.02336). Ties, the average over
    subsets and the subsets themselves are as in `majority_at_n`, which equal weights reproduce. Only the proportions
    of the weights within a question matter.

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
    return _vote(np.where(weights > 0.0, votes, -1), correct, weights, n, draws, seed)


def _vote(votes: IntArray, correct: BoolArray, weights: FloatArray | None, n: int, draws: int, seed: int) -> FloatArray:
    """Mean credit [Q] over subsets; equal weights are None."""
    check_budget(n)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    questions, samples = votes.shape
    if n > samples:
        return np.full(questions, np.nan)
    ranks = _dense_ranks(votes)
    right = _right_answers(ranks, correct)
    if n == 1:
        return np.asarray((correct & (votes >= 0)).mean(axis=1), dtype=np.float64)
    # Counts are small whole numbers, exact in 32 bits; sums of weights need the precision that `_TIE` relies on.
    precision: type[np.floating] = np.float32 if weights is None else np.float64
    members: NDArray[np.floating] = _subsets(samples, n, draws, seed).astype(precision)
    credit = np.empty(questions)
    widest = right.shape[1] * max(samples, len(members)) * members.itemsize
    chunk = max(1, _CHUNK_BYTES // widest)
    for start in range(0, questions, chunk):
        block = slice(start, start + chunk)
        own = None if weights is None else weights[block]
        credit[block] = _plurality_credit(ranks[block], right[block], own, members)
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


def _dense_ranks(votes: IntArray) -> IntArray:
    """Renumber the codes [Q, N] of every question as 0, 1, 2, ...; abstentions stay -1."""
    order = votes.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(votes, order, axis=1)
    # Abstentions sort first and open no class, so the running count of classes is still -1 over them.
    opens = np.diff(ordered, axis=1, prepend=-1) > 0
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, opens.cumsum(axis=1) - 1, axis=1)
    return ranks


def _right_answers(ranks: IntArray, correct: BoolArray) -> BoolArray:
    """Whether each answer of each question is right [Q, classes], once it is sure that all its samples say so."""
    questions, classes = len(ranks), max(1, int(ranks.max(initial=-1)) + 1)
    address = (np.arange(questions)[:, None] * classes + ranks)[ranks >= 0]
    given = np.bincount(address, minlength=questions * classes)
    right = np.bincount(address, weights=correct[ranks >= 0], minlength=questions * classes)
    disputed = (right > 0) & (right < given)
    if disputed.any():
        q = int(disputed.argmax()) // classes
        raise ValueError(f"question {q}: the same answer is called right in one sample and wrong in another")
    return (right > 0).reshape(questions, classes)


def _plurality_credit(
    ranks: IntArray, right: BoolArray, weights: FloatArray | None, members: NDArray[np.floating]
) -> FloatArray:
    """Mean credit [q] over the subsets `members` [S, N], for ranks [q, N] and right answers [q, classes]."""
    questions, samples = ranks.shape
    classes = max(1, int(ranks.max(initial=-1)) + 1)
    # Questions come last: the reductions over classes then run over long contiguous rows.
    one_hot = (ranks.T[:, None, :] == np.arange(classes)[:, None]).astype(members.dtype)
    if weights is not None:
        # At most 1 each, so that no total overflows.
        one_hot *= (weights / np.maximum(weights.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)).T[:, None, :]
    totals = (members @ one_hot.reshape(samples, -1)).reshape(len(members), classes, questions)
    most = totals.max(axis=1)
    winners = totals >= (most if weights is None else most * (1.0 - _TIE))[:, None, :]
    credit = np.where(most > 0, _count(winners & right.T[:classes]) / _count(winners), 0.0)
    return np.asarray(credit.mean(axis=0), dtype=np.float64)


def _count(flags: BoolArray) -> NDArray[np.uint16]:
    """Number of set flags [S, q] among those of all classes [S, classes, q], fewer than 65536 of them."""
    # Adding bytes into short numbers is twice as fast as what `sum` does with flags.
    return np.asarray(np.add.reduce(flags.view(np.uint8), axis=1, dtype=np.uint16))
