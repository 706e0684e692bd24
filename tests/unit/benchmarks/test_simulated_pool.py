"""The simulation of large pools obeys what can be known without it."""

import pytest

from benchmarks.simulated_pool import Costs, simulate


def test_where_nothing_else_takes_time_actors_are_always_busy() -> None:
    outcome = simulate(50, 1.0, Costs(0.0, 0.0))
    assert outcome.busy > 0.98
    assert outcome.shards_per_second == pytest.approx(50, rel=0.03)


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_the_driver_bounds_the_rate(seconds: float) -> None:
    outcome = simulate(100, seconds, Costs(0.02, 0.001))
    assert outcome.shards_per_second == pytest.approx(50, rel=0.03)
    assert outcome.driver == pytest.approx(1.0, abs=0.02)
    assert outcome.busy == pytest.approx(50 * seconds / 100, rel=0.05)


def test_dispatchers_bound_it_together() -> None:
    # 64 calls at once are waited for by four processes.
    outcome = simulate(32, 0.1, Costs(0.0001, 0.02))
    assert outcome.shards_per_second == pytest.approx(200, rel=0.05)
    assert outcome.dispatcher == pytest.approx(1.0, abs=0.05)
