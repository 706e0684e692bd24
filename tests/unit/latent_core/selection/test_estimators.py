"""The estimators against brute force over all subsets, and at their edges."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from latent_core.selection.aggregations import AGGREGATIONS, Aggregation, Outcomes
from latent_core.selection.estimators import guess_coverage, majority_at_n, pass_at_n


def random_votes(questions: int, samples: int, answers: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Votes with abstentions, and truths that nobody may have given."""
    rng = np.random.default_rng(seed)
    return rng.integers(-1, answers, (questions, samples)), rng.integers(-1, answers, questions)


def brute_majority(votes: np.ndarray, truth: int, n: int) -> float:
    """Mean credit over all n-subsets of one question's votes, written as naively as possible."""
    credits = []
    for subset in itertools.combinations(votes.tolist(), n):
        counts = {code: subset.count(code) for code in subset if code >= 0}
        winners = [code for code, count in counts.items() if count == max(counts.values())]
        credits.append(1 / len(winners) if truth in winners else 0.0)
    return float(np.mean(credits))


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_n_is_the_mean_over_all_subsets(n: int) -> None:
    correct = np.random.default_rng(n).random((12, 7)) < np.linspace(0, 1, 12)[:, None]
    brute = [np.mean([any(subset) for subset in itertools.combinations(row, n)]) for row in correct.tolist()]
    np.testing.assert_allclose(pass_at_n(correct, n), brute, atol=1e-12)


def test_pass_at_n_is_exact_with_thousands_of_samples() -> None:
    samples = 4096
    right = np.array([0, 1, 5, 100, 4095, 4096])
    correct = np.arange(samples) < right[:, None]
    for n in (1, 64, 2048, 4096):
        exact = [float(1 - Fraction(comb(samples - int(c), n), comb(samples, n))) for c in right]
        np.testing.assert_allclose(pass_at_n(correct, n), exact, rtol=1e-9, atol=1e-12)


def test_pass_at_n_never_falls_with_n_and_starts_at_the_mean_accuracy() -> None:
    correct = np.random.default_rng(0).random((40, 33)) < 0.2
    curve = np.array([pass_at_n(correct, n) for n in range(1, 34)])
    assert (np.diff(curve, axis=0) >= -1e-12).all()
    np.testing.assert_allclose(curve[0], correct.mean(axis=1), atol=1e-12)
    np.testing.assert_array_equal(curve[-1], correct.any(axis=1))


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("answers", [2, 3, 9])
def test_majority_is_the_mean_over_all_subsets(n: int, answers: int) -> None:
    votes, truth = random_votes(25, 7, answers, seed=n)
    brute = [brute_majority(row, int(right), n) for row, right in zip(votes, truth, strict=True)]
    np.testing.assert_allclose(majority_at_n(votes, truth, n), brute, atol=1e-6)


def test_majority_over_random_subsets_approaches_the_exact_value() -> None:
    votes, truth = random_votes(60, 12, 4, seed=0)
    exact = majority_at_n(votes, truth, 5, draws=comb(12, 5))
    estimate = majority_at_n(votes, truth, 5, draws=400)
    assert not np.array_equal(exact, estimate)
    # Credits lie in [0, 1], so the standard error of a mean of 400 is at most 0.025.
    assert np.abs(estimate - exact).max() < 5 * 0.025
    assert abs((estimate - exact).mean()) < 0.02


def test_random_subsets_are_reproducible_and_the_same_for_every_question() -> None:
    votes, truth = random_votes(300, 20, 15, seed=1)
    whole = majority_at_n(votes, truth, 8)
    np.testing.assert_array_equal(whole, majority_at_n(votes, truth, 8))
    assert not np.array_equal(whole, majority_at_n(votes, truth, 8, seed=1))
    alone = [majority_at_n(votes[q : q + 1], truth[q : q + 1], 8)[0] for q in range(0, 300, 37)]
    np.testing.assert_allclose(whole[::37], alone, atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 19])
def test_random_subsets_hold_n_different_samples(n: int) -> None:
    # Question i has one voter, sample i: its credit is how often the subsets hold that sample.
    votes = np.where(np.eye(20, dtype=bool), 0, -1)
    held = majority_at_n(votes, np.zeros(20, dtype=int), n, draws=10)
    assert held.sum() == pytest.approx(n)
    assert held.max() <= 1.0


def test_one_sample_is_exact_even_with_more_samples_than_draws() -> None:
    votes, truth = random_votes(10, 50, 3, seed=2)
    right = (votes == truth[:, None]) & (votes >= 0)
    np.testing.assert_allclose(majority_at_n(votes, truth, 1, draws=4), right.mean(axis=1))


def test_all_samples_are_a_single_subset() -> None:
    votes, truth = random_votes(50, 40, 4, seed=3)
    brute = [brute_majority(row, int(right), 40) for row, right in zip(votes, truth, strict=True)]
    np.testing.assert_allclose(majority_at_n(votes, truth, 40, draws=1), brute, atol=1e-6)


def test_ties_share_the_credit_and_abstentions_do_not_vote() -> None:
    votes = np.array([[3, 3, 8, 8], [7, -1, -1, -1], [-1, -1, -1, -1], [5, 6, 7, 8], [-1, -1, 2, 1]])
    truth = np.array([8, 7, -1, 6, 9])
    np.testing.assert_allclose(majority_at_n(votes, truth, 4), [0.5, 1.0, 0.0, 0.25, 0.0])


def test_votes_are_counted_without_a_look_at_the_truth() -> None:
    votes, _ = random_votes(30, 9, 5, seed=4)
    votes[:, 0] = np.maximum(votes[:, 0], 0)
    # Whoever wins does not depend on who ought to: the credits of all possible truths share exactly one win.
    shares = sum(majority_at_n(votes, np.full(30, code), 9) for code in range(5))
    np.testing.assert_allclose(shares, 1.0, atol=1e-6)


def test_only_equality_of_codes_matters() -> None:
    votes, truth = random_votes(30, 9, 5, seed=5)
    names = np.array([40, 7, 10**12, 0, 3, -1])  # the last one stands for -1
    np.testing.assert_allclose(majority_at_n(votes, truth, 4), majority_at_n(names[votes], names[truth], 4), atol=1e-6)


@pytest.mark.parametrize("aggregation", [AGGREGATIONS[name] for name in AGGREGATIONS], ids=list(AGGREGATIONS))
def test_budgets_beyond_the_samples_are_unknown_and_below_one_refused(aggregation: Aggregation) -> None:
    votes, truth = random_votes(6, 4, 3, seed=6)
    outcomes = Outcomes(correct=votes == truth[:, None], votes=votes, truth=truth)
    assert np.isfinite(aggregation(outcomes, 4)).all()
    assert aggregation(outcomes, 5).shape == (6,)
    assert np.isnan(aggregation(outcomes, 5)).all()
    with pytest.raises(ValueError, match="n=0"):
        aggregation(outcomes, 0)


def test_majority_refuses_to_draw_nothing() -> None:
    with pytest.raises(ValueError, match="draws"):
        majority_at_n(*random_votes(2, 4, 3, seed=7), 2, draws=0)


def test_outcomes_refuse_shapes_that_do_not_fit() -> None:
    votes, truth = random_votes(6, 4, 3, seed=8)
    with pytest.raises(ValueError, match="truth"):
        Outcomes(correct=votes == 0, votes=votes, truth=truth[:5])
    with pytest.raises(ValueError, match="scores"):
        Outcomes(correct=votes == 0, votes=votes, truth=truth, scores=np.zeros((6, 3)))


def test_guess_coverage() -> None:
    weights = {"1": 0.5, "2": 0.25, "3": 0.0}
    np.testing.assert_allclose(guess_coverage(weights, ["1", "2", "3", "4"], 3), [7 / 8, 1 - 0.75**3, 0, 0])
    np.testing.assert_array_equal(guess_coverage({"1": 1.0}, ["1"], 2), [1.0])
    # Tiny probabilities keep their digits, where 1 - (1 - p)^n would round to zero.
    np.testing.assert_allclose(guess_coverage({"1": 1e-20}, ["1"], 64), [64e-20])


@pytest.mark.parametrize("weights", [{"1": 0.7, "2": 0.7}, {"1": -0.1}, {"1": float("nan")}])
def test_guess_weights_must_be_probabilities(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        guess_coverage(weights, ["1"], 1)
