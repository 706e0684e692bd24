"""Intervals: do they cover what they claim to, and do they stay honest where the bootstrap has nothing to say?"""

import numpy as np
import pytest

from latent_core.selection.intervals import bootstrap_interval, paired_difference


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_the_mean_about_as_often_as_they_say(level: float) -> None:
    rng = np.random.default_rng(0)
    repetitions, hits = 300, 0
    for seed in range(repetitions):
        interval = bootstrap_interval(rng.beta(0.5, 1.0, 100), level=level, resamples=400, seed=seed)
        hits += interval.lo <= 1 / 3 <= interval.hi
    error = np.sqrt(level * (1 - level) / repetitions)
    assert abs(hits / repetitions - level) < 3.5 * error


def test_paired_intervals_cover_the_difference_and_are_narrower_than_unpaired_ones() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        difficulty = rng.random(100)
        a, b = rng.random(100) < 0.2 + 0.6 * difficulty, rng.random(100) < 0.1 + 0.6 * difficulty
        interval = paired_difference(a.astype(float), b.astype(float), resamples=400, seed=seed)
        hits += interval.lo <= 0.1 <= interval.hi
    assert abs(hits / 300 - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 300)
    base = rng.random(200) * 0.8
    paired, single = paired_difference(base + 0.1 * rng.random(200), base), bootstrap_interval(base)
    assert paired.hi - paired.lo < 0.2 * (single.hi - single.lo)
    assert paired.lo > 0


def test_the_value_is_the_mean_and_lies_inside() -> None:
    values = np.random.default_rng(2).random(64)
    interval = bootstrap_interval(values)
    assert interval.value == pytest.approx(values.mean())
    assert interval.lo < interval.value < interval.hi
    assert bootstrap_interval(values, level=0.5).lo > interval.lo


def test_equal_seeds_give_equal_intervals_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(50)
    first = bootstrap_interval(values, seed=5)
    assert first == bootstrap_interval(values, seed=5)
    assert first != bootstrap_interval(values, seed=6)
    monkeypatch.setattr("latent_core.selection.intervals._CHUNK_ELEMENTS", 170)
    assert bootstrap_interval(values, seed=5) == pytest.approx(first)


def test_all_right_and_all_wrong_get_wilsons_interval() -> None:
    z2 = 1.959964**2
    np.testing.assert_allclose(bootstrap_interval(np.ones(20)), (1.0, 20 / (20 + z2), 1.0), rtol=1e-6)
    np.testing.assert_allclose(bootstrap_interval(np.zeros(20)), (0.0, 0.0, z2 / (20 + z2)), rtol=1e-6)


def test_one_question_says_little_about_others() -> None:
    interval = bootstrap_interval(np.array([0.5]))
    assert interval.value == 0.5
    assert interval.hi - interval.lo > 0.7


def test_settings_that_never_differed_are_not_proven_equal() -> None:
    interval = paired_difference(np.ones(30), np.ones(30))
    assert interval.value == 0
    assert -0.2 < interval.lo < -0.05
    assert interval.hi == pytest.approx(-interval.lo)


def test_rounding_noise_is_no_spread() -> None:
    noisy = 1.0 - 1e-15 * np.arange(20)
    assert bootstrap_interval(noisy) == pytest.approx(bootstrap_interval(np.ones(20)))


def test_unknown_values_make_an_unknown_interval() -> None:
    assert np.isnan(bootstrap_interval(np.array([0.1, np.nan, 0.3]))).all()
    assert np.isnan(paired_difference(np.array([0.1, 0.2]), np.array([np.nan, 0.3]))).all()


@pytest.mark.parametrize(
    ("values", "settings", "complaint"),
    [
        (np.zeros(0), {}, "per question"),
        (np.zeros((2, 2)), {}, "per question"),
        (np.array([0.0, 1.5]), {}, "bounds"),
        (np.array([0.0, 1.0]), {"level": 1.0}, "level"),
        (np.array([0.0, 1.0]), {"resamples": 0}, "resamples"),
    ],
)
def test_bad_input_is_refused(values: np.ndarray, settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        bootstrap_interval(values, **settings)


def test_pairs_need_the_same_questions() -> None:
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(np.zeros(3), np.zeros(4))
