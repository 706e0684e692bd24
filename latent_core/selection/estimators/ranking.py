"""Scores as rankings: is the best-scored of n samples right, and do right samples score above wrong ones?"""

from typing import NamedTuple

import numpy as np

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray, check_budget, check_shapes


def best_of_n(scores: FloatArray, correct: BoolArray, n: int) -> FloatArray:
    """Expected correctness of the best-scored of n samples, exactly, over all n-subsets of the N samples.

    Without ties: the sample of rank r (1 is best) is the best of a subset if it is in the subset and the other n - 1
    members rank below it, so in C(N-r, n-1) of the C(N, n) subsets. The probabilities are p_1 = n / N and
    p_(r+1) = p_r * (N - r - n + 1) / (N - r), which needs no factorial.

    Ties: let a group of g samples with one score occupy the ranks a .. a+g-1. The winner is in the group exactly if
    the subset has a member of the group and none of a better rank. Whatever strict order is put on the group, this is
    the event that one of these ranks wins, so its probability is P = p_a + .. + p_(a+g-1). The event does not change
    when members of the group swap places, so with ties broken uniformly each member wins with probability P / g, and
    the group contributes P times its mean correctness.

    A sample without a score can never be chosen: it ranks below all others and contributes nothing. A subset in which
    nobody has a score thereby earns nothing. Increasing transforms of the scores change nothing.

    Args:
        scores: [Q, N], higher is better; NaN has no score.
        correct: [Q, N], whether each sample's answer is right.
        n: Budget, at least 1.

    Returns:
        [Q], expected correctness in [0, 1]; NaN throughout where n > N.

    Raises:
        ValueError: If n < 1 or the shapes differ.
    """
    check_budget(n)
    check_shapes(correct, scores=scores)
    questions, samples = scores.shape
    if n > samples:
        return np.full(questions, np.nan)
    rank = np.arange(1, samples, dtype=np.float64)
    wins = n / samples * np.concatenate([[1.0], np.cumprod(np.maximum(samples - rank - n + 1, 0.0) / (samples - rank))])
    order, groups = _tie_groups(-scores)
    earns = np.take_along_axis(correct & ~np.isnan(scores), order, axis=1)
    # The group's mean correctness at each of its ranks.
    share = _group_means(earns.astype(np.float64), groups)
    return np.asarray(share @ wins, dtype=np.float64)


class WithinQuestionAuc(NamedTuple):
    """How well scores tell right from wrong samples of the same question.

    Attributes:
        mean: Mean area under the ROC curve over the questions that have one, in [0, 1]; 0.5 is chance. NaN where there
            is none.
        questions: Number of questions with right and wrong scored samples.
    """

    mean: float
    questions: int


def within_question_auc(scores: FloatArray, correct: BoolArray) -> WithinQuestionAuc:
    """Probability that a right sample scores above a wrong one of the same question, ties counted half.

    Per question (R - r(r+1)/2) / (r w), with r right and w wrong samples and R the sum of the ascending mid-ranks of
    the right ones (Mann & Whitney 1947). Differences between questions, which say nothing about a choice among samples
    of one question, do not enter. Samples without a score are left out.

    Args:
        scores: [Q, N], higher is better; NaN has no score.
        correct: [Q, N], whether each sample's answer is right.

    Returns:
        The mean over questions with both kinds of samples, and their number.

    Raises:
        ValueError: If the shapes differ.
    """
    by_question = auc_by_question(scores, correct)
    known = by_question[~np.isnan(by_question)]
    return WithinQuestionAuc(float(known.mean()) if len(known) else np.nan, len(known))


def auc_by_question(scores: FloatArray, correct: BoolArray) -> FloatArray:
    """Return the area under the ROC curve of every question, [Q]; NaN without both right and wrong scored samples.

    Args and errors are those of `within_question_auc`.
    """
    check_shapes(correct, scores=scores)
    scored = ~np.isnan(scores)
    right, wrong = (correct & scored).sum(axis=1), (~correct & scored).sum(axis=1)
    mixed = (right > 0) & (wrong > 0)
    areas = np.full(len(scores), np.nan)
    if not mixed.any():
        return areas
    order, groups = _tie_groups(scores[mixed])
    # Samples without a score come last, behind every rank that counts.
    ranks = np.broadcast_to(np.arange(1.0, scores.shape[1] + 1), order.shape)
    counted = np.take_along_axis((correct & scored)[mixed], order, axis=1)
    rank_sum = (_group_means(ranks, groups) * counted).sum(axis=1)
    r, w = right[mixed].astype(np.float64), wrong[mixed].astype(np.float64)
    areas[mixed] = (rank_sum - r * (r + 1) / 2) / (r * w)
    return areas


def _tie_groups(keys: FloatArray) -> tuple[IntArray, IntArray]:
    """Ascending order [Q, N] of each row, NaN last, and at each place [Q, N] the number of the group of equal keys."""
    order = keys.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=1)
    # Each NaN differs from every other: groups of their own, which is as good as any.
    opens = np.ones(keys.shape, dtype=np.bool_)
    opens[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return order, (opens.cumsum() - 1).reshape(keys.shape)


def _group_means(values: FloatArray, groups: IntArray) -> FloatArray:
    """Replace each value [Q, N] by the mean of its group."""
    flat = groups.ravel()
    means = np.bincount(flat, weights=values.ravel()) / np.bincount(flat)
    return np.asarray(means[flat].reshape(values.shape))
