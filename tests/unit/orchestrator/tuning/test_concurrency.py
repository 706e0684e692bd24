"""How many trials run at the same time."""

from collections.abc import Mapping

from orchestrator.progress.utilization import PoolState
from orchestrator.tuning.concurrency import ConcurrencyLimiter

IDLE = {"reasoners": PoolState(4, 4, 2, 0.4)}
BUSY = {"reasoners": PoolState(4, 4, 8, 1.0)}
CROWDED = {"reasoners": PoolState(4, 4, 20, 1.0)}


class Machine:
    """A clock, and actors in a state that is set from outside."""

    def __init__(self, actors: int = 4) -> None:
        self.now = 0.0
        self.pools: Mapping[str, PoolState] = {}
        self.limiter = ConcurrencyLimiter(lambda: self.pools, actors, lambda: self.now)

    def limits(self, pools: Mapping[str, PoolState], *seconds: float) -> list[int]:
        self.pools = pools
        found = []
        for second in seconds:
            self.now = second
            found.append(self.limiter.limit())
        return found


def test_two_to_begin_with() -> None:
    assert Machine().limits({}, 0.0, 100.0) == [2, 2]


def test_idle_actors_get_more_trials_step_by_step() -> None:
    machine = Machine()
    assert machine.limits(IDLE, 1.0, 3.0, 4.0, 6.0, 9.0, 100.0) == [2, 3, 3, 4, 5, 5]
    assert machine.limits(BUSY, 200.0) == [5]


def test_crowded_actors_get_fewer() -> None:
    machine = Machine()
    assert machine.limits(CROWDED, 3.0, 6.0, 9.0) == [1, 1, 1]


def test_more_trials_do_not_help_where_scoring_is_what_takes_long() -> None:
    scorers = {"scorers": PoolState(1, 1, 2, 1.0)}
    assert Machine().limits(IDLE | scorers, 3.0, 6.0) == [2, 2]
    assert Machine().limits(IDLE | {"scorers": PoolState(1, 1, 4, 1.0)}, 3.0, 6.0) == [1, 1]


def test_actors_that_are_starting_say_nothing() -> None:
    assert Machine().limits({"reasoners": PoolState(4, 1, 0, 0.0)}, 3.0, 6.0) == [2, 2]


def test_one_actor_is_served_by_two_trials() -> None:
    assert Machine(actors=1).limits({"reasoners": PoolState(1, 1, 1, 0.2)}, 3.0, 6.0, 9.0) == [2, 2, 2]
