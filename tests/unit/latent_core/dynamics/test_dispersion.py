"""Pair estimators against plain loops over pairs, and against populations whose values are known."""

import numpy as np
import pytest

from latent_core.dynamics.dispersion import distance_of_mean, last_latents, pairwise_cosine_distance, squared_shift

Q, N, T, D = 3, 5, 2, 4


def made_up(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    present = rng.random((Q, N, T)) < 0.8
    present[:, :2] = True
    latents = rng.normal(size=(Q, N, T, D)).astype(np.float32) * present[..., None]
    return latents, present


def test_cosine_distance_is_the_mean_over_all_pairs() -> None:
    latents, present = made_up()
    found = pairwise_cosine_distance(latents, present)
    for q in range(Q):
        for t in range(T):
            own = latents[q, present[q, :, t], t]
            unit = own / np.linalg.norm(own, axis=1, keepdims=True)
            pairs = [1 - unit[i] @ unit[j] for i in range(len(own)) for j in range(len(own)) if i != j]
            assert found[q, t] == pytest.approx(np.mean(pairs), abs=1e-6)


def test_cosine_distance_of_equal_samples_is_zero_and_that_of_one_sample_unknown() -> None:
    latents = np.repeat(np.random.default_rng(0).normal(size=(2, 1, 1, 300)), 64, axis=1).astype(np.float32)
    present = np.ones(latents.shape[:3], np.bool_)
    present[1, 1:] = False
    np.testing.assert_array_equal(pairwise_cosine_distance(latents, present), [[0.0], [np.nan]])


def test_a_latent_without_length_has_no_direction() -> None:
    latents = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], np.float32).reshape(1, 3, 1, 2)
    assert pairwise_cosine_distance(latents, np.ones((1, 3, 1), np.bool_))[0, 0] == pytest.approx(1.0)


def test_the_last_latent_is_that_of_each_sample() -> None:
    latents = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    present = np.arange(4) < np.array([[4], [2], [0]])
    last, known = last_latents(latents, present[None])
    assert last[0, :2, 0, 0].tolist() == [3.0, 5.0]
    assert known[0, :, 0].tolist() == [True, True, False]


def test_distance_of_the_mean_counts_the_samples_that_are_there() -> None:
    latents, present = made_up(1)
    rng = np.random.default_rng(2)
    greedy = rng.normal(size=(Q, T, D)).astype(np.float32)
    greedy_present = np.ones((Q, T), np.bool_)
    greedy_present[2] = False
    found = distance_of_mean(latents, present, greedy, greedy_present)
    for q in range(2):
        for t in range(T):
            mean = latents[q, present[q, :, t], t].mean(axis=0)
            expected = np.linalg.norm(mean - greedy[q, t]) / np.linalg.norm(greedy[q, t])
            assert found[q, t] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("samples", [2, 8, 64])
def test_the_shift_is_free_of_noise_however_few_samples_there_are(samples: int) -> None:
    rng = np.random.default_rng(3)
    greedy = np.zeros((2000, 1, 16), np.float32)
    greedy[..., 0] = 2.0
    # Noise as large as the latent, about a mean that lies 0.6 lengths away from the greedy one.
    latents = rng.normal(0.0, 0.5, size=(2000, samples, 1, 16)).astype(np.float32) + greedy[:, None]
    latents[..., 1] += 1.2
    known = np.ones((2000, samples, 1), np.bool_)
    shift = np.sqrt(squared_shift(latents, known, greedy, known[:, 0]).mean())
    assert shift == pytest.approx(0.6, abs=0.03)
    biased = distance_of_mean(latents, known, greedy, known[:, 0]).mean()
    assert biased == pytest.approx(np.hypot(0.6, np.sqrt(16 * 0.25 / samples) / 2), rel=0.05)
