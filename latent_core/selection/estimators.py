"""What N samples per question say about every smaller budget n: unbiased estimates, one value per question.

All budgets are read off the same trajectories. An estimate averages over the n-subsets of the N samples, exactly where
there is a formula or few subsets and over a fixed set of random subsets otherwise; it never means "the first n". A
budget beyond what was sampled is unknown and therefore NaN.

Inputs are dense: a row that failed is a wrong answer that does not vote, so that it stays in the denominator.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

DEFAULT_DRAWS = 256
# Elements of the largest temporary array (4 bytes each): small enough to stay in a processor's cache for the usual
# shapes, far below any memory limit for all of them.
_CHUNK_ELEMENTS = 1 << 21


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
    _check_budget(n)
    questions, samples = correct.shape
    if n > samples:
        return np.full(questions, np.nan)
    i = np.arange(samples, 0, -1, dtype=np.float64)
    # Fewer than n wrong samples means that i runs past n: the product is exactly zero from there on.
    all_wrong = np.concatenate([[1.0], np.cumprod(np.maximum(i - n, 0.0) / i)])
    return np.asarray(1.0 - all_wrong[correct.sum(axis=1)], dtype=np.float64)


def majority_at_n(votes: IntArray, truth: IntArray, n: int, *, draws: int = DEFAULT_DRAWS, seed: int = 0) -> FloatArray:
    """Estimate the accuracy of the plurality vote over n samples.

    A subset's credit is [the truth is among the winners] / (number of winners): the expectation of breaking ties
    uniformly, without a look at the truth. A subset in which nobody votes earns nothing. The average runs over all
    n-subsets where there are at most `draws` of them (and always for n = 1), else over `draws` random ones: the same
    for every question, and nested across n, so that neighbouring budgets differ by less noise than each carries.

    Args:
        votes: [Q, N], answer codes >= 0 that mean something within their question only; -1 does not vote.
        truth: [Q], the code of the right answer, or -1 where nobody gave it.
        n: Budget, at least 1.
        draws: Number of random subsets, and the number up to which subsets are enumerated instead.
        seed: Seed of the random subsets.

    Returns:
        [Q], expected credit in [0, 1]; NaN throughout where n > N.

    Raises:
        ValueError: If n < 1 or draws < 1.
    """
    _check_budget(n)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    questions, samples = votes.shape
    if n > samples:
        return np.full(questions, np.nan)
    right = (votes == truth[:, None]) & (votes >= 0)
    if n == 1:
        return np.asarray(right.mean(axis=1), dtype=np.float64)
    members = _subsets(samples, n, draws, seed)
    ranks = _dense_ranks(votes)
    truth_rank = np.where(right, ranks, -1).max(axis=1, initial=-1)
    credit = np.empty(questions)
    widest = max(1, int(ranks.max(initial=-1)) + 1) * max(samples, len(members))
    chunk = max(1, _CHUNK_ELEMENTS // widest)
    for start in range(0, questions, chunk):
        block = slice(start, start + chunk)
        credit[block] = _plurality_credit(ranks[block], truth_rank[block], members)
    return credit


def guess_coverage(weights: Mapping[str, float], truth: Sequence[str], n: int) -> FloatArray:
    """Probability that n independent guesses, made without reading the question, contain the right answer.

    Args:
        weights: Probability of each answer; what is missing to 1 is spent on answers that are never right.
        truth: Q reference answers in the spelling of the keys of `weights`.
        n: Number of guesses, at least 1.

    Returns:
        [Q], 1 - (1 - p)^n with p the weight of the question's reference answer.

    Raises:
        ValueError: If n < 1, or if the weights are not probabilities.
    """
    _check_budget(n)
    total = math.fsum(weights.values())
    if min(weights.values(), default=0.0) < 0.0 or not total <= 1.0 + 1e-6:
        raise ValueError(f"guess weights must be probabilities that add up to at most 1, got a total of {total}")
    p = np.minimum([weights.get(answer, 0.0) for answer in truth], 1.0)
    with np.errstate(divide="ignore"):  # p = 1 is a certain hit: log1p(-1) = -inf is what the formula wants
        return np.asarray(-np.expm1(n * np.log1p(-p)), dtype=np.float64)


def _check_budget(n: int) -> None:
    if n < 1:
        raise ValueError(f"a budget is at least one sample per question, got n={n}")


def _subsets(samples: int, n: int, draws: int, seed: int) -> NDArray[np.float32]:
    """Membership [S, N] of S subsets of size n: all of them where at most `draws` exist, else random ones."""
    if math.comb(samples, n) <= draws:
        chosen = np.array(list(itertools.combinations(range(samples), n)))
    else:
        chosen = np.random.default_rng(seed).random((draws, samples)).argsort(axis=1)[:, :n]
    members = np.zeros((len(chosen), samples), dtype=np.float32)
    np.put_along_axis(members, chosen, 1.0, axis=1)
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


def _plurality_credit(ranks: IntArray, truth_rank: IntArray, members: NDArray[np.float32]) -> FloatArray:
    """Mean credit [q] over the subsets `members` [S, N], for ranks [q, N] and the rank of the truth [q] or -1."""
    questions, samples = ranks.shape
    classes = max(1, int(ranks.max(initial=-1)) + 1)
    # Questions come last: the reductions over classes then run over long contiguous rows.
    one_hot = (ranks.T[:, None, :] == np.arange(classes)[:, None]).astype(np.float32)
    counts = (members @ one_hot.reshape(samples, -1)).reshape(len(members), classes, questions)
    most = counts.max(axis=1)
    winners = counts == most[:, None, :]
    truth_wins = winners[:, truth_rank, np.arange(questions)] & (most > 0) & (truth_rank >= 0)
    return np.asarray((truth_wins / winners.sum(axis=1)).mean(axis=0), dtype=np.float64)
