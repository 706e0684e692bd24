"""Plurality vote over n of N samples: the exact expectation over all n-subsets, by generating functions.

Let an answer have c of the N votes and its rivals c_1 .. c_K. It wins a random n-subset with m votes, tied with t
rivals, if the subset holds m of its c votes, exactly m of t rivals' and fewer of all others'; it then earns
1 / (1 + t). Two devices turn the sum over all such subsets into a product over rivals:

- 1 / (1 + t) is the integral of y^t over y in [0, 1], so y may mark a tied rival. The integrand is a polynomial of
  degree t, which Gauss-Legendre quadrature integrates exactly.
- If every sample enters the subset by itself with probability p, the counts of answers are independent, and
  conditioned on a total of n all n-subsets are equally likely, whatever p is. The total is picked out by a discrete
  Fourier transform of the product of characteristic functions, as for the Poisson binomial distribution (Fernandez &
  Williams 2010). p = n / N makes a total of n the likeliest, so that nothing is lost to cancellation: errors stay
  within some 1e-13, where binomial coefficients of 1,024 samples have 300 digits.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latent_core.selection.estimators.answers import answer_counts, dense_ranks
from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray, check_budget, check_shapes

# Elements of the largest temporary array: small enough for a processor's cache.
_CHUNK_ELEMENTS = 1 << 18
# What is less likely than this is left out: far below the last bit of the result even if summed over all terms.
_NEGLIGIBLE = 1e-24


class _Contest(NamedTuple):
    """Right answers and what they are up against.

    Attributes:
        own: [T], votes for the right answer.
        rivals: [T, C], how many other answers have each number of votes.
        sizes: [C], these numbers of votes, ascending, each at least 1.
        samples: N, of which those that vote for nothing abstain.
    """

    own: IntArray
    rivals: IntArray
    sizes: IntArray
    samples: int


def majority_at_n(votes: IntArray, correct: BoolArray, n: int) -> FloatArray:
    """Expected accuracy of the plurality vote over n of the N samples (Wang et al. 2023, arXiv 2203.11171).

    A subset's credit is (number of winning answers that are right) / (number of winning answers): the expectation of
    breaking ties uniformly, without a look at what is right. Several answers of a question may be right; they do not
    support each other, because the vote cannot know that. Samples that do not vote count among the n; a subset in
    which nobody votes earns nothing. The average runs over all n-subsets, exactly.

    Args:
        votes: [Q, N], answer codes >= 0 that mean something within their question only; -1 does not vote.
        correct: [Q, N], whether each sample's answer is right; without meaning where nobody votes.
        n: Budget, at least 1.

    Returns:
        [Q], expected credit in [0, 1]; NaN throughout where n > N.

    Raises:
        ValueError: If n < 1, if the shapes differ, or if an answer is called right in one sample of a question and
            wrong in another.
    """
    check_shapes(correct, votes=votes)
    check_budget(n)
    questions, samples = votes.shape
    if n > samples:
        return np.full(questions, np.nan)
    counts, right = answer_counts(dense_ranks(votes), correct)
    if n == 1:
        return np.asarray((counts * right).sum(axis=1) / samples, dtype=np.float64)
    if n == samples:
        winners = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
        return np.asarray((winners & right).sum(axis=1) / np.maximum(winners.sum(axis=1), 1), dtype=np.float64)
    sizes = np.unique(counts[counts > 0])
    answers = np.stack([(counts == size).sum(axis=1) for size in sizes], axis=1) if len(sizes) else counts[:, :0]
    question, answer = np.nonzero(right)
    own = counts[question, answer]
    rivals = answers[question] - (own[:, None] == sizes)
    # Questions with the same counts are one contest, and so are right answers with the same number of votes.
    unique, same = np.unique(np.column_stack([own, rivals]), axis=0, return_inverse=True)
    wins = _win_chances(_Contest(unique[:, 0], unique[:, 1:], sizes, samples), n)
    credit = np.bincount(question, weights=wins[same.ravel()], minlength=questions)
    return np.asarray(np.clip(credit, 0.0, 1.0), dtype=np.float64)


def _win_chances(contest: _Contest, n: int) -> FloatArray:
    """Chance [T] that each right answer wins a random n-subset, ties shared; 1 < n < N."""
    own, rivals, sizes, samples = contest
    wins = np.zeros(len(own))
    if not len(own):
        return wins
    p = n / samples
    binomial = _binomial(samples, p)
    abstain = samples - own - rivals @ sizes
    # The total strays from n by this many with probability 2 exp(-40) at most (Hoeffding 1963), so that a transform of
    # so few points tells all totals apart. An odd number, of which half mirrors the other.
    points = min(samples + 1, int(np.sqrt(20.0 * samples)) + 2) | 1
    frequency = np.arange(points // 2 + 1)
    turn = np.exp(2j * np.pi / points * frequency)
    pick = np.where(frequency == 0, 1.0, 2.0) / points / binomial[samples, n]
    one_sample = np.log(1.0 - p + p * turn)
    fewer = np.zeros((len(sizes), len(frequency)), dtype=np.complex128)  # E[e^(i theta count); count < m]
    for m in range(1, min(n, int(own.max())) + 1):
        fewer += binomial[sizes, m - 1][:, None] * turn ** (m - 1)
        equal = binomial[sizes, m][:, None] * turn**m
        # The rest of the subset has to hold n - m votes for others, at most m each.
        room = rivals @ np.minimum(sizes, m) + abstain
        active = np.flatnonzero((binomial[own, m] > _NEGLIGIBLE) & (room >= n - m))
        if not len(active):
            continue
        tied = min(int(rivals[active][:, sizes >= m].sum(axis=1).max()), n // m - 1)
        nodes, weights = np.polynomial.legendre.leggauss(tied // 2 + 1)
        y, share = (nodes + 1) / 2, weights / 2
        factor = fewer[:, None, :] + y[:, None] * equal[:, None, :]
        # Powers of factors as multiples of logarithms: all products over rivals are one matrix product.
        logs = np.log(np.where(factor == 0, 1e-300, factor)).reshape(len(sizes), -1).view(np.float64)
        chunk = max(1, _CHUNK_ELEMENTS // logs.shape[1])
        for start in range(0, len(active), chunk):
            some = active[start : start + chunk]
            exponent = (rivals[some].astype(np.float64) @ logs).view(np.complex128)
            exponent = exponent.reshape(len(some), len(y), len(frequency)) + abstain[some, None, None] * one_sample
            product = (np.exp(exponent) * share[:, None]).sum(axis=1)
            wins[some] += binomial[own[some], m] * ((product * turn ** (m - n)).real @ pick)
    return wins


def _binomial(trials: int, p: float) -> NDArray[np.float64]:
    """Probability [c, m] of m successes in c trials, for all c and m up to `trials`; sums of products, all positive."""
    rows = np.zeros((trials + 1, trials + 1))
    rows[0, 0] = 1.0
    for c in range(trials):
        rows[c + 1] = (1.0 - p) * rows[c]
        rows[c + 1, 1:] += p * rows[c, :-1]
    return rows
