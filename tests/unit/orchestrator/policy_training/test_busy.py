"""Busy shares against a count of moments."""

import random

import pytest

from orchestrator.policy_training.busy import Interval, busy_shares


def counted(whole: Interval, learning: list[Interval], computing: list[Interval], actors: int) -> dict[str, float]:
    """The same by looking at every hundredth of a second."""
    moments = [whole.began + (index + 0.5) / 100 for index in range(round(100 * (whole.ended - whole.began)))]

    def at(moment: float, some: list[Interval]) -> int:
        return sum(one.began <= moment < one.ended for one in some)

    return {
        "busy/learner": sum(at(one, learning) for one in moments) / len(moments),
        "busy/actors": sum(at(one, computing) for one in moments) / len(moments) / actors,
        "busy/neither": sum(not at(one, [*learning, *computing]) for one in moments) / len(moments),
    }


def test_shares_are_those_of_a_count() -> None:
    rng = random.Random(0)

    def drawn(number: int) -> list[Interval]:
        begins = [rng.randrange(-100, 1100) / 100 for _ in range(number)]
        return [Interval(began, began + rng.randrange(0, 200) / 100) for began in begins]

    for _ in range(20):
        whole, learning, computing = Interval(0.0, 10.0), drawn(3), drawn(4)
        found = busy_shares(whole, learning, computing, 2)
        assert found == pytest.approx(counted(whole, learning, computing, 2), abs=1e-9)
