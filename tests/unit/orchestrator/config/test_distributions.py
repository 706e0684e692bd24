"""Distributions of a search space."""

import random
from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.distributions import draw, is_distribution


def draws(distribution: dict[str, Any], count: int = 2000) -> list[float]:
    rng = random.Random(0)
    return [draw("key", distribution, rng) for _ in range(count)]


def test_uniform_is_spread_evenly() -> None:
    values = draws({"uniform": [-1, 3]})
    assert all(-1 <= value <= 3 for value in values)
    assert sum(value < 1 for value in values) / len(values) == pytest.approx(0.5, abs=0.05)


def test_loguniform_is_spread_evenly_over_magnitudes() -> None:
    values = draws({"loguniform": [0.01, 1.0]})
    assert all(0.01 <= value <= 1.0 for value in values)
    assert sum(value < 0.1 for value in values) / len(values) == pytest.approx(0.5, abs=0.05)


def test_randint_has_both_ends() -> None:
    assert set(draws({"randint": [2, 4]})) == {2, 3, 4}


def test_numbers_can_be_read() -> None:
    assert all(len(f"{value:g}") <= 7 for value in draws({"uniform": [0.1, 1.0]}))


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ({"normal": [0, 1]}, "key: {'normal': [0, 1]} is no distribution; known: uniform, loguniform, randint"),
        ({}, "key: {} is no distribution"),
        ({"uniform": [0, 1], "randint": [0, 1]}, "is no distribution"),
        ({"uniform": 1}, "key: uniform takes [low, high], two numbers with low < high (got 1)"),
        ({"uniform": [1, 1]}, "with low < high (got [1, 1])"),
        ({"uniform": ["a", 1]}, "two numbers"),
        ({"uniform": [True, 2]}, "two numbers"),
        ({"loguniform": [0, 1]}, "two numbers above 0"),
        ({"randint": [1, 2.5]}, "two whole numbers"),
    ],
)
def test_what_is_no_distribution(distribution: dict[str, Any], message: str) -> None:
    assert is_distribution(distribution)
    with pytest.raises(UserError) as caught:
        draw("key", distribution, random.Random(0))
    assert message in str(caught.value)
