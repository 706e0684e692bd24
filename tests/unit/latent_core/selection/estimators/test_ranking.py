"""Best-of-N and within-question AUC against brute force, and at their edges."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from latent_core.selection.estimators import best_of_n, pass_at_n, within_question_auc


def random_scores(questions: int, samples: int, levels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, some missing, of samples of which the better scored are right more often."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (questions, samples)).astype(float)
    correct = rng.random(scores.shape) < (scores + 1) / (levels + 2)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[0] = np.nan
    return scores, correct


def brute_best(scores: np.ndarray, correct: np.ndarray, n: int) -> float:
    """Mean over all n-subsets of one question, written as naively as possible."""
    credits = []
    for subset in itertools.combinations(range(len(scores)), n):
        scored = [i for i in subset if not np.isnan(scores[i])]
        best = [i for i in scored if scores[i] == max(scores[j] for j in scored)]
        credits.append(np.mean([correct[i] for i in best]) if best else 0.0)
    return float(np.mean(credits))


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_best_of_n_is_the_mean_over_all_subsets(n: int, levels: int) -> None:
    scores, correct = random_scores(30, 7, levels, seed=n)
    brute = [brute_best(*question, n) for question in zip(scores, correct, strict=True)]
    np.testing.assert_allclose(best_of_n(scores, correct, n), brute, atol=1e-12)


def test_one_sample_is_no_choice_and_all_samples_leave_the_best() -> None:
    rng = np.random.default_rng(0)
    scores, correct = rng.random((50, 33)), rng.random((50, 33)) < 0.4
    np.testing.assert_allclose(best_of_n(scores, correct, 1), correct.mean(axis=1), atol=1e-12)
    best = np.take_along_axis(correct, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(best_of_n(scores, correct, 33), best, atol=1e-12)


def test_only_the_order_of_the_scores_matters() -> None:
    scores, correct = random_scores(40, 20, 8, seed=1)
    before = best_of_n(scores, correct, 5)
    np.testing.assert_allclose(best_of_n(np.exp(scores) - 100, correct, 5), before, atol=1e-12)
    order = np.random.default_rng(2).permutation(20)
    np.testing.assert_allclose(best_of_n(scores[:, order], correct[:, order], 5), before, atol=1e-12)
    assert np.abs(best_of_n(-scores, correct, 5) - before).max() > 0.1


def test_perfect_scores_reach_coverage_and_no_scores_do_no_better_than_chance() -> None:
    correct = np.random.default_rng(3).random((40, 20)) < 0.2
    for n in (1, 3, 20):
        np.testing.assert_allclose(best_of_n(correct.astype(float), correct, n), pass_at_n(correct, n), atol=1e-12)
        np.testing.assert_allclose(best_of_n(np.zeros(correct.shape), correct, n), correct.mean(axis=1), atol=1e-12)


def test_a_sample_without_a_score_is_never_chosen() -> None:
    scores, correct = np.array([[np.nan, np.nan, 1.0]]), np.array([[True, True, False]])
    assert best_of_n(scores, correct, 2).item() == 0
    # Right alone among the scored ones: chosen whenever it is in the subset, which is two pairs of three.
    assert best_of_n(scores, ~correct, 2).item() == pytest.approx(2 / 3)
    assert best_of_n(np.full((1, 3), np.nan), np.ones((1, 3), dtype=bool), 3).item() == 0


@pytest.mark.parametrize("n", [1, 2, 64, 2048, 4095, 4096])
def test_best_of_n_is_exact_with_thousands_of_samples(n: int) -> None:
    samples = 4096
    ranks = np.array([1, 2, 65, 1000, 4096])
    correct = np.arange(1, samples + 1) == ranks[:, None]
    scores = np.broadcast_to(-np.arange(samples, dtype=float), correct.shape)
    exact = [float(Fraction(comb(samples - int(r), n - 1), comb(samples, n))) for r in ranks]
    np.testing.assert_allclose(best_of_n(scores, correct, n), exact, rtol=1e-9, atol=1e-300)
    # Somebody is the best: the probabilities of all ranks add up to one.
    everyone = np.ones((1, samples), dtype=bool)
    assert best_of_n(scores[:1], everyone, n).item() == pytest.approx(1.0, abs=1e-12)


def test_auc_counts_pairs() -> None:
    scores, correct = random_scores(60, 9, 4, seed=5)
    areas = []
    for s, c in zip(scores, correct, strict=True):
        right, wrong = s[c & ~np.isnan(s)], s[~c & ~np.isnan(s)]
        if len(right) and len(wrong):
            areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in right for b in wrong]))
    assert 10 < len(areas) < 60
    auc = within_question_auc(scores, correct)
    assert auc.questions == len(areas)
    assert auc.mean == pytest.approx(np.mean(areas))


def test_auc_of_perfect_reversed_and_constant_scores() -> None:
    correct = np.random.default_rng(6).random((30, 12)) < 0.5
    # The level of a question says nothing about its samples, and must not matter.
    level = np.arange(30.0)[:, None]
    assert within_question_auc(level + correct, correct) == (1.0, 30)
    assert within_question_auc(level - correct, correct) == (0.0, 30)
    assert within_question_auc(level + 0 * correct, correct) == (0.5, 30)


def test_auc_without_a_mixed_question_is_unknown() -> None:
    correct = np.array([[True, True], [False, False], [True, False]])
    scores = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, np.nan]])
    auc = within_question_auc(scores, correct)
    assert np.isnan(auc.mean)
    assert auc.questions == 0


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ValueError, match="scores"):
        best_of_n(np.zeros((2, 3)), np.zeros((2, 4), dtype=bool), 1)
    with pytest.raises(ValueError, match="scores"):
        within_question_auc(np.zeros((2, 3)), np.zeros((2, 4), dtype=bool))
