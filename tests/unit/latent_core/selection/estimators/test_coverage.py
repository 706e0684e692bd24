"""Coverage against brute force over all subsets, and at its edges."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from latent_core.selection.estimators import guess_coverage, pass_at_n


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


def test_guess_coverage() -> None:
    np.testing.assert_allclose(guess_coverage([0.5, 0.25, 0.0], 3), [7 / 8, 1 - 0.75**3, 0])
    np.testing.assert_array_equal(guess_coverage([1.0], 2), [1.0])
    # Tiny probabilities keep their digits, where 1 - (1 - p)^n would round to zero.
    np.testing.assert_allclose(guess_coverage([1e-20], 64), [64e-20])


@pytest.mark.parametrize("chance", [1.01, -0.1, float("nan")])
def test_guess_chances_must_be_probabilities(chance: float) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        guess_coverage([0.5, chance], 1)
