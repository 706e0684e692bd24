"""Intervals: do they cover what they claim to, near 0 and 1 as well, and are they honest about few questions?"""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest

from benchmarks.intervals import (
    QUESTIONS,
    Method,
    Population,
    coverage,
    normal,
    paired_populations,
    percentile_bootstrap,
    populations,
    shipped,
)
from latent_core.selection.intervals import (
    mean_interval,
    paired_difference,
    paired_test,
    ratio_interval,
    unbounded_interval,
)


@cache
def known(kind: str) -> list[Population]:
    """Populations known to the last question: the demo's, easy, nearly solved and nearly hopeless ones."""
    return populations(4000) if kind == "means" else paired_populations(4000)


def held(population: Population, questions: int, method: Method) -> float:
    """Share of intervals that hold the truth; where 2,000 experiments leave doubt about 93 %, 16,000 decide."""
    share, _ = coverage(population, questions, 2000, {"": method}, seed=0)[""]
    return share if abs(share - 0.93) > 0.01 else coverage(population, questions, 16000, {"": method}, seed=1)[""][0]


@pytest.mark.parametrize("questions", QUESTIONS)
@pytest.mark.parametrize("kind", ["means", "differences"])
def test_at_least_93_percent_of_intervals_hold_the_truth(kind: str, questions: int) -> None:
    found = {population.name: held(population, questions, shipped) for population in known(kind)}
    assert not {name: share for name, share in found.items() if share < 0.93}


@pytest.mark.parametrize("questions", QUESTIONS)
@pytest.mark.parametrize("kind", ["means", "differences"])
def test_the_simulation_catches_intervals_of_the_spread_alone(kind: str, questions: int) -> None:
    found = [coverage(population, questions, 300, {"": normal}, seed=0)[""][0] for population in known(kind)]
    assert sum(share < 0.9 for share in found) > len(found) / 10


def test_the_simulation_catches_the_bootstrap() -> None:
    found = [coverage(one, 100, 300, {"": percentile_bootstrap}, seed=0)[""][0] for one in known("means")]
    assert min(found) < 0.5


def test_what_is_simulated_is_what_is_shipped() -> None:
    rng = np.random.default_rng(0)
    for bounds, values in (((0.0, 1.0), rng.beta(5.0, 0.25, (40, 30))), ((-1.0, 1.0), rng.uniform(-1, 1, (40, 30)))):
        lo, hi = shipped(values, bounds)
        for row, low, high in zip(values, lo, hi, strict=True):
            one = mean_interval(row) if bounds[0] == 0 else paired_difference(row, np.zeros(30))
            assert (one.lo, one.hi) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_intervals_cover_the_mean_about_as_often_as_they_say(level: float) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        interval = mean_interval(rng.beta(0.5, 1.0, 100), level=level)
        hits += interval.lo <= 1 / 3 <= interval.hi
    assert level - 0.02 < hits / 2000 < level + 0.04


def test_the_interval_is_that_of_the_values_with_pseudo_questions_among_them() -> None:
    z = NormalDist().inv_cdf(0.975)
    values = np.random.default_rng(2).random(64)
    padded = np.concatenate([values, [0.0, 0.0, 1.0, 1.0]])
    half = z * padded.std() / np.sqrt(68)
    expected = (values.mean(), padded.mean() - half, padded.mean() + half)
    assert mean_interval(values) == pytest.approx(expected)
    difference = values - 0.5
    padded = np.concatenate([difference, [-1.0, 1.0]])
    half = z * padded.std() / np.sqrt(66)
    expected = (difference.mean(), padded.mean() - half, padded.mean() + half)
    assert paired_difference(values, np.full(64, 0.5)) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("questions", [1, 2, 20, 300])
def test_the_value_lies_inside_and_the_interval_within_the_bounds(questions: int, level: float) -> None:
    rng = np.random.default_rng(questions)
    samples = [
        np.zeros(questions),
        np.ones(questions),
        1.0 - 1e-15 * np.arange(questions),
        rng.beta(5, 0.25, questions),
    ]
    for values in samples:
        one = mean_interval(values, level=level)
        assert one.value == pytest.approx(values.mean())
        assert 0.0 <= one.lo <= one.value <= one.hi <= 1.0
        assert one.lo < one.hi
        for other in (values, rng.random(questions), np.zeros(questions)):
            pair = paired_difference(values, other, level=level)
            assert -1.0 <= pair.lo <= pair.value <= pair.hi <= 1.0
            assert pair.lo < pair.hi


def test_right_and_wrong_are_treated_alike() -> None:
    rng = np.random.default_rng(4)
    values, other = rng.beta(5, 0.25, 50), rng.random(50)
    right, wrong = mean_interval(values), mean_interval(1.0 - values)
    assert (wrong.lo, wrong.hi) == pytest.approx((1.0 - right.hi, 1.0 - right.lo))
    there, back = paired_difference(values, other), paired_difference(other, values)
    assert (back.lo, back.hi) == pytest.approx((-there.hi, -there.lo))


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(200) * 0.8
    paired, single = paired_difference(base + 0.1 * rng.random(200), base), mean_interval(base)
    assert paired.hi - paired.lo < 0.5 * (single.hi - single.lo)
    assert paired.lo > 0


def test_all_right_is_close_to_wilsons_interval() -> None:
    z2 = 1.959964**2
    for questions in (20, 300):
        interval = mean_interval(np.ones(questions))
        assert interval.hi == 1.0
        assert 1.0 - interval.lo == pytest.approx(1.0 - questions / (questions + z2), rel=0.35)


def test_one_question_says_little_about_others() -> None:
    for value in (0.0, 0.5, 1.0):
        interval = mean_interval(np.array([value]))
        assert interval.value == value
        assert interval.hi - interval.lo > 0.7


def test_settings_that_never_differed_are_not_proven_equal() -> None:
    interval = paired_difference(np.ones(30), np.ones(30))
    assert interval.value == 0
    assert -0.2 < interval.lo < -0.05
    assert interval.hi == pytest.approx(-interval.lo)


def test_rounding_noise_is_no_spread() -> None:
    noisy = 1.0 - 1e-15 * np.arange(20)
    assert mean_interval(noisy) == pytest.approx(mean_interval(np.ones(20)))


def test_bounds_without_room_leave_nothing_uncertain() -> None:
    assert mean_interval(np.full(5, 0.25), bounds=(0.25, 0.25)) == (0.25, 0.25, 0.25)


def test_unknown_values_make_an_unknown_interval() -> None:
    assert np.isnan(mean_interval(np.array([0.1, np.nan, 0.3]))).all()
    assert np.isnan(paired_difference(np.array([0.1, 0.2]), np.array([np.nan, 0.3]))).all()


@pytest.mark.parametrize(
    ("values", "settings", "complaint"),
    [
        (np.zeros(0), {}, "per question"),
        (np.zeros((2, 2)), {}, "per question"),
        (np.array([0.0, 1.5]), {}, "bounds"),
        (np.array([0.0, 1.0]), {"level": 1.0}, "level"),
    ],
)
def test_bad_input_is_refused(values: np.ndarray, settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        mean_interval(values, **settings)


def test_pairs_need_the_same_questions() -> None:
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(np.zeros(3), np.zeros(4))


def test_students_interval_of_values_without_bounds() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan])
    one = unbounded_interval(values)
    half = 4.302653 * values[:3].std(ddof=1) / math.sqrt(3)
    assert one == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half), rel=1e-5)
    assert unbounded_interval(values, bounds=(0.0, 3.0)).lo == 0.0
    alone = unbounded_interval(values[:1])
    assert alone.value == 1.0
    assert math.isnan(alone.lo)
    assert math.isnan(alone.hi)
    assert all(math.isnan(end) for end in unbounded_interval(values[3:]))


@pytest.mark.parametrize("questions", [4, 10, 100])
def test_students_interval_covers_the_mean_as_often_as_it_says(questions: int) -> None:
    rng = np.random.default_rng(questions)
    ends = [unbounded_interval(rng.normal(3.0, 2.0, questions)) for _ in range(2000)]
    assert 0.935 < np.mean([one.lo <= 3.0 <= one.hi for one in ends]) < 0.965


def test_a_ratio_of_equal_wholes_has_the_interval_of_its_mean() -> None:
    shares = np.random.default_rng(0).random(50)
    assert ratio_interval(shares * 8, np.full(50, 8.0)) == pytest.approx(mean_interval(shares))


def test_a_ratio_weighs_questions_by_their_wholes() -> None:
    parts, wholes = np.array([1.0, 0.0, 6.0, 0.0]), np.array([2.0, 4.0, 6.0, 0.0])
    one = ratio_interval(parts, wholes)
    assert one.value == pytest.approx(7 / 12)
    assert 0.0 <= one.lo < one.value < one.hi <= 1.0
    assert all(math.isnan(end) for end in ratio_interval(np.zeros(3), np.zeros(3)))
    with pytest.raises(ValueError, match="between 0 and its whole"):
        ratio_interval(np.array([2.0]), np.array([1.0]))


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_the_interval_of_a_ratio_covers_it(share: float) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        wholes = rng.integers(0, 64, 100)
        parts = rng.binomial(wholes, rng.beta(share, 1 - share, 100))
        interval = ratio_interval(parts.astype(float), wholes.astype(float))
        hits += interval.lo <= share <= interval.hi
    assert hits / 2000 > 0.93


@pytest.mark.parametrize("questions", [30, 300])
@pytest.mark.parametrize("shift", [0.0, 0.01, -0.02])
def test_the_p_value_is_that_of_the_interval_that_ends_at_zero(questions: int, shift: float) -> None:
    generator = np.random.default_rng(questions)
    a = generator.random(questions) * 0.8 + 0.1
    b = np.clip(a + shift + generator.normal(size=questions) * 0.05, 0.0, 1.0)
    p = paired_test(a, b)
    interval = paired_difference(a, b, level=1 - p)
    # Cut to the mean or not, one end is where no difference is.
    assert min(abs(interval.lo), abs(interval.hi)) == pytest.approx(0.0, abs=1e-9)
    assert (p < 0.05) == (not paired_difference(a, b).lo <= 0.0 <= paired_difference(a, b).hi)


def test_the_p_value_of_no_difference_is_not_too_often_small() -> None:
    """Where settings do not differ, at most one test in twenty says so at 5 %."""
    generator = np.random.default_rng(0)
    experiments = 2000
    found = [
        paired_test(*(generator.random((2, 100)) < generator.random(100)).astype(float)) for _ in range(experiments)
    ]
    assert np.mean(np.array(found) < 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / experiments)
    assert np.mean(np.array(found) < 0.05) > 0.02
    assert paired_test(np.full(5, 0.3), np.full(5, 0.3)) == 1.0


def test_a_test_needs_pairs() -> None:
    with pytest.raises(ValueError, match="same questions"):
        paired_test(np.zeros(3), np.zeros(4))
    assert math.isnan(paired_test(np.array([0.1, np.nan]), np.zeros(2)))
