"""The e-process is what integration gives, and it is valid however often one looks."""

import numpy as np
import pytest

from latent_core.budgets import RULES, Budget, Prefix
from latent_core.budgets.anytime import log_wealth


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (0, 1), (5, 2), (2, 5), (20, 3), (0, 12)])
def test_wealth_is_the_integral_over_bets(a: int, b: int) -> None:
    theta = np.linspace(0.5, 1.0, 200_001)
    bets = (2 * theta) ** a * (2 - 2 * theta) ** b
    expected = 2 * float(((bets[1:] + bets[:-1]) / 2).sum() * (theta[1] - theta[0]))
    assert np.exp(log_wealth(32)[a, b]) == pytest.approx(expected, rel=1e-6)


def test_wealth_does_not_grow_in_the_mean_under_the_null() -> None:
    wealth = np.exp(log_wealth(40))
    a, b = np.indices(wealth.shape)
    inside = a + b < 40
    after = (wealth[np.minimum(a + 1, 40), b] + wealth[a, np.minimum(b + 1, 40)]) / 2
    assert (after[inside] <= wealth[inside] * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    "chances",
    [
        [0.5, 0.5],  # the boundary of the null: whoever is certified, is certified wrongly
        [0.26, 0.25, 0.25, 0.24],
        [0.3, 0.3, 0.3, 0.1],
        [0.04] + [0.96 / 25] * 25,
        [0.2] * 5,
    ],
)
def test_false_stops_are_rare_though_one_looks_after_every_sample(chances: list[float]) -> None:
    alpha, experiments, horizon = 0.2, 800, 100
    rng = np.random.default_rng(3)
    votes = rng.choice(len(chances), (experiments, horizon), p=chances)
    rule = RULES["anytime"].model_validate({"alpha": alpha})
    best = np.flatnonzero(np.array(chances) == max(chances))
    wrongly = np.zeros(experiments, dtype=bool)
    decide = Budget(rule, tuple(range(1, horizon + 1))).prepare(scored=False)
    for n in range(1, horizon):
        stops = ~decide(Prefix(votes[:, :n]))
        counts = np.stack([(votes[:, :n] == answer).sum(axis=1) for answer in range(len(chances))], axis=1)
        leader = counts.argmax(axis=1)
        # Where several are most probable, none is more probable than all others: every stop is false.
        false = np.ones(experiments, dtype=bool) if len(best) > 1 else leader != best[0]
        wrongly |= stops & false
    error = 2.6 * np.sqrt(alpha * (1 - alpha) / experiments)
    assert wrongly.mean() <= alpha + error


def test_a_clear_leader_is_certified_soon() -> None:
    rule = RULES["anytime"].model_validate({"alpha": 0.05})
    decide = Budget(rule, tuple(range(1, 65))).prepare(scored=False)
    assert next(n for n in range(1, 64) if not decide(Prefix(np.zeros((1, n), dtype=np.int64)))[0]) == 9
    votes = np.random.default_rng(4).choice(2, (400, 60), p=[0.9, 0.1])
    assert (~decide(Prefix(votes[:, :40]))).mean() > 0.95


def test_a_leader_that_came_late_needs_more() -> None:
    decide = Budget(RULES["anytime"](), tuple(range(1, 65))).prepare(scored=False)
    early, late = np.array([[0] * 14 + [1]]), np.array([[1] + [0] * 14])
    assert not decide(Prefix(early))[0]
    assert decide(Prefix(late[:, :11]))[0]
    assert not decide(Prefix(early[:, :10]))[0]
