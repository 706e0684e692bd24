"""Votes against brute force over all subsets, and at their edges."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from latent_core.selection.estimators import majority_at_n, weighted_vote_at_n


def random_votes(questions: int, samples: int, answers: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Votes with abstentions, and what is right: no, one or several of the answers."""
    rng = np.random.default_rng(seed)
    votes = rng.integers(-1, answers, (questions, samples))
    is_right = rng.random((questions, answers)) < 0.4
    return votes, np.take_along_axis(is_right, np.maximum(votes, 0), axis=1) & (votes >= 0)


def brute_vote(votes: np.ndarray, correct: np.ndarray, weights: np.ndarray, n: int) -> float:
    """Mean credit over all n-subsets of one question, written as naively as possible; weights are whole numbers."""
    credits = []
    for subset in itertools.combinations(range(len(votes)), n):
        totals: dict[int, int] = {}
        for i in subset:
            if votes[i] >= 0 and weights[i] > 0:
                totals[votes[i]] = totals.get(votes[i], 0) + weights[i]
        winners = [code for code, total in totals.items() if total == max(totals.values())]
        right = [code for code in winners if any(correct[i] for i in subset if votes[i] == code)]
        credits.append(len(right) / len(winners) if winners else 0.0)
    return float(np.mean(credits))


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("answers", [2, 3, 9])
def test_majority_is_the_mean_over_all_subsets(n: int, answers: int) -> None:
    votes, correct = random_votes(25, 7, answers, seed=n)
    brute = [brute_vote(row, right, np.ones(7, dtype=int), n) for row, right in zip(votes, correct, strict=True)]
    np.testing.assert_allclose(majority_at_n(votes, correct, n), brute, atol=1e-13)


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-30, 1e30])
def test_weighted_vote_is_the_mean_over_all_subsets(n: int, scale: float) -> None:
    votes, correct = random_votes(25, 7, 4, seed=n)
    # Few different weights make ties between unlike sums, such as 1 + 2 against 3; some are zero.
    weights = np.random.default_rng(n).integers(0, 4, votes.shape)
    brute = [brute_vote(*question, n) for question in zip(votes, correct, weights, strict=True)]
    np.testing.assert_allclose(weighted_vote_at_n(votes, correct, scale * weights, n), brute, atol=1e-12)


def test_several_right_answers_share_the_credit_but_not_their_votes() -> None:
    votes = np.array([[1, 1, 2, 2, 3, 3], [1, 1, 1, 2, 2, 3]])
    correct = np.array([[True, True, False, False, True, True], [False, False, False, True, True, True]])
    # Two of three winners are right; and two right answers with two votes and one lose against three votes.
    np.testing.assert_allclose(majority_at_n(votes, correct, 6), [2 / 3, 0.0])


def exact_majority(counts: list[int], right: list[bool], abstain: int, n: int) -> Fraction:
    """The expected credit in rational numbers: subsets are counted by their size and by how many rivals tie."""
    credit = Fraction(0)
    for winner in np.flatnonzero(right):
        for m in range(1, min(counts[winner], n) + 1):
            ways = {(0, 0): comb(counts[winner], m)}
            for rival, count in enumerate(counts):
                if rival == winner:
                    continue
                longer: dict[tuple[int, int], int] = {}
                for (size, tied), number in ways.items():
                    for i in range(min(count, m, n - m - size) + 1):
                        key = (size + i, tied + (i == m))
                        longer[key] = longer.get(key, 0) + number * comb(count, i)
                ways = longer
            for (size, tied), number in ways.items():
                credit += Fraction(number * comb(abstain, n - m - size), 1 + tied)
    return credit / comb(sum(counts) + abstain, n)


@pytest.mark.parametrize("answers", [2, 3, 8, 40])
@pytest.mark.parametrize("evenness", [0.3, 5.0])
def test_majority_of_64_samples_equals_rational_arithmetic(answers: int, evenness: float) -> None:
    rng = np.random.default_rng(answers)
    codes = rng.choice(answers, 64, p=rng.dirichlet(np.full(answers, evenness))) - (answers % 2)
    is_right = rng.random(answers + 1) < 0.5
    correct = is_right[codes] & (codes >= 0)
    given = np.unique(codes[codes >= 0])
    counts = [int((codes == code).sum()) for code in given]
    for n in (1, 2, 3, 16, 33, 60, 63, 64):
        exact = float(exact_majority(counts, list(is_right[given]), int((codes < 0).sum()), n))
        assert majority_at_n(codes[None], correct[None], n)[0] == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("samples", [256, 1024])
def test_majority_of_many_samples_equals_the_sum_over_a_hypergeometric_count(samples: int) -> None:
    """Two answers: the right one wins where the subset holds more than half of it."""
    own = samples * 9 // 16
    votes = (np.arange(samples) >= own).astype(np.int64)[None]
    for n in (2, 5, samples // 4, samples // 2 + 1, samples - 1):
        ways = {m: comb(own, m) * comb(samples - own, n - m) for m in range(n + 1)}
        won = sum(Fraction(2 * w if 2 * m > n else w, 2) for m, w in ways.items() if 2 * m >= n)
        exact = float(won / comb(samples, n))
        assert majority_at_n(votes, votes == 0, n)[0] == pytest.approx(exact, abs=1e-12)


def test_answers_that_are_all_different_win_equally_often() -> None:
    votes = np.arange(256)[None]
    for n in (2, 7, 128, 255):
        assert majority_at_n(votes, votes < 64, n)[0] == pytest.approx(0.25, abs=1e-12)


def test_questions_without_votes_or_without_a_right_answer_earn_nothing() -> None:
    votes = np.array([[-1] * 6, [0, 0, 1, 2, -1, -1]])
    for n in (1, 2, 5, 6):
        np.testing.assert_array_equal(majority_at_n(votes, np.zeros((2, 6), bool), n), 0.0)
        np.testing.assert_array_equal(majority_at_n(votes[:1], np.ones((1, 6), bool), n), 0.0)
    assert np.isnan(majority_at_n(votes, np.zeros((2, 6), bool), 7)).all()


def test_random_subsets_approach_the_exact_value() -> None:
    votes, correct = random_votes(60, 12, 4, seed=0)
    weights = np.random.default_rng(1).random(votes.shape)
    exact = weighted_vote_at_n(votes, correct, weights, 5, draws=comb(12, 5))
    sampled = weighted_vote_at_n(votes, correct, weights, 5, draws=400)
    assert not np.array_equal(exact, sampled)
    # Credits lie in [0, 1], so the standard error of a mean of 400 is at most 0.025.
    assert np.abs(sampled - exact).max() < 5 * 0.025
    assert abs((sampled - exact).mean()) < 0.02


def test_random_subsets_are_reproducible_and_the_same_for_every_question() -> None:
    votes, correct = random_votes(300, 20, 15, seed=1)
    weights = np.random.default_rng(1).random(votes.shape)
    whole = weighted_vote_at_n(votes, correct, weights, 8)
    np.testing.assert_array_equal(whole, weighted_vote_at_n(votes, correct, weights, 8))
    assert not np.array_equal(whole, weighted_vote_at_n(votes, correct, weights, 8, seed=1))
    some = [slice(q, q + 1) for q in range(0, 300, 37)]
    alone = [weighted_vote_at_n(votes[q], correct[q], weights[q], 8)[0] for q in some]
    np.testing.assert_allclose(whole[::37], alone, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 19])
def test_random_subsets_hold_n_different_samples(n: int) -> None:
    # Question i is right in sample i alone, which outweighs all: its credit is how often the subsets hold that sample.
    voters = np.eye(20, dtype=bool)
    held = weighted_vote_at_n(np.where(voters, 0, 1), voters, np.where(voters, 100.0, 1.0), n, draws=10)
    assert held.sum() == pytest.approx(n)
    assert held.max() <= 1.0


@pytest.mark.parametrize("samples", [40, 300])
@pytest.mark.parametrize("weight", [1.0, 0.1, 1 / 3])
def test_equal_weights_are_a_majority_vote(samples: int, weight: float) -> None:
    """Sums of a third differ in their last bits by the order of addition: ties have to survive that."""
    votes, correct = random_votes(80, samples, 5, seed=3)
    for n in (1, 2, 7, samples - 1, samples):
        weighted = weighted_vote_at_n(votes, correct, np.full(votes.shape, weight), n)
        np.testing.assert_allclose(weighted, majority_at_n(votes, correct, n), atol=1e-12)


def test_a_tie_survives_rounding() -> None:
    a, b = np.meshgrid(np.arange(1.0, 40.0), np.arange(1.0, 40.0))
    weights = np.stack([a, b, a + b], axis=-1).reshape(-1, 3) / 7
    assert (weights[:, 0] + weights[:, 1] != weights[:, 2]).any(), "without rounding there is nothing to survive"
    votes = np.broadcast_to([0, 0, 1], weights.shape)
    np.testing.assert_array_equal(weighted_vote_at_n(votes, votes == 1, weights, 3), 0.5)
    # A difference that is no rounding decides.
    weights[:, 2] *= 1 + 1e-6
    np.testing.assert_array_equal(weighted_vote_at_n(votes, votes == 1, weights, 3), 1.0)


def test_the_scale_of_a_questions_weights_changes_nothing() -> None:
    votes, correct = random_votes(80, 30, 5, seed=3)
    rng = np.random.default_rng(0)
    weights, scale = rng.random(votes.shape), 10.0 ** rng.integers(-100, 100, (80, 1))
    before = weighted_vote_at_n(votes, correct, weights, 8)
    np.testing.assert_allclose(weighted_vote_at_n(votes, correct, scale * weights, 8), before, atol=1e-12)
    assert np.abs(before - majority_at_n(votes, correct, 8)).max() > 0.05


def test_one_sample_is_exact_even_with_more_samples_than_draws() -> None:
    votes, correct = random_votes(10, 50, 3, seed=2)
    np.testing.assert_allclose(majority_at_n(votes, correct, 1), correct.mean(axis=1))
    weights = np.random.default_rng(0).integers(0, 2, votes.shape).astype(float)
    np.testing.assert_allclose(
        weighted_vote_at_n(votes, correct, weights, 1, draws=4), (correct & (weights > 0)).mean(axis=1)
    )


def test_all_samples_are_a_single_subset() -> None:
    votes, correct = random_votes(50, 40, 4, seed=3)
    brute = [brute_vote(row, right, np.ones(40, dtype=int), 40) for row, right in zip(votes, correct, strict=True)]
    np.testing.assert_allclose(majority_at_n(votes, correct, 40), brute, atol=1e-13)


def test_ties_share_the_credit_and_abstentions_do_not_vote() -> None:
    votes = np.array([[3, 3, 8, 8], [7, -1, -1, -1], [-1, -1, -1, -1], [5, 6, 7, 8], [-1, -1, 2, 1]])
    correct = votes == np.array([8, 7, -9, 6, 9])[:, None]
    np.testing.assert_allclose(majority_at_n(votes, correct, 4), [0.5, 1.0, 0.0, 0.25, 0.0])


def test_the_mark_of_a_sample_that_does_not_vote_has_no_meaning() -> None:
    votes, correct = np.array([[-1, 4, 5]]), np.array([[True, False, True]])
    for n in (1, 2, 3):
        np.testing.assert_array_equal(majority_at_n(votes, correct, n), majority_at_n(votes, correct & (votes >= 0), n))


def test_votes_are_counted_without_a_look_at_what_is_right() -> None:
    votes, _ = random_votes(30, 9, 5, seed=4)
    votes[:, 0] = np.maximum(votes[:, 0], 0)
    weights = np.random.default_rng(0).random(votes.shape) + 0.1
    # Whoever wins does not depend on who ought to: the credits of all possible truths share exactly one win.
    np.testing.assert_allclose(sum(majority_at_n(votes, votes == code, 9) for code in range(5)), 1.0)
    np.testing.assert_allclose(sum(weighted_vote_at_n(votes, votes == code, weights, 9) for code in range(5)), 1.0)


def test_neither_the_codes_nor_the_order_of_samples_matter() -> None:
    votes, correct = random_votes(30, 9, 5, seed=5)
    weights = np.random.default_rng(0).random(votes.shape)
    names = np.array([40, 7, 10**12, 0, 3, -1])  # the last one stands for -1
    order = np.random.default_rng(1).permutation(9)
    before = weighted_vote_at_n(votes, correct, weights, 4)
    np.testing.assert_allclose(weighted_vote_at_n(names[votes], correct, weights, 4), before, atol=1e-12)
    # All 126 subsets are enumerated, so a permutation changes nothing at all.
    shuffled = weighted_vote_at_n(votes[:, order], correct[:, order], weights[:, order], 4)
    np.testing.assert_allclose(shuffled, before, atol=1e-12)


def test_one_answer_cannot_be_right_and_wrong() -> None:
    votes, correct = np.array([[0, 1], [2, 2]]), np.array([[True, False], [True, False]])
    with pytest.raises(ValueError, match="question 1"):
        majority_at_n(votes, correct, 2)
    with pytest.raises(ValueError, match="question 1"):
        weighted_vote_at_n(votes, correct, np.array([[1.0, 1.0], [1.0, 2.0]]), 2)


def test_bad_input_is_refused() -> None:
    votes, correct = random_votes(2, 4, 3, seed=7)
    with pytest.raises(ValueError, match="draws"):
        weighted_vote_at_n(votes, correct, np.ones(votes.shape), 2, draws=0)
    with pytest.raises(ValueError, match="n=0"):
        majority_at_n(votes, correct, 0)
    with pytest.raises(ValueError, match="votes"):
        majority_at_n(votes[:1], correct, 2)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="weights"):
            weighted_vote_at_n(votes, correct, np.full(votes.shape, bad), 2)
