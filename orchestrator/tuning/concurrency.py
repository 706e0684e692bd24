"""Concurrency limiter: as many trials at the same time as it takes to keep the actors busy, and no more."""

import time
from collections.abc import Callable, Mapping

from orchestrator.progress.utilization import PoolState

_FIRST = 2
_MOST = 16
_SETTLE_S = 3.0
_IDLE = 0.9
"""Below this share of busy time an actor has time to spare."""
_CROWDED = 2.0
"""Waiting requests per actor above which another trial would only wait."""


class ConcurrencyLimiter:
    """A limit that follows how busy the actors are.

    A trial is a process, and its pipeline a few more, so trials that only wait for actors are a burden. A trial that is
    running is never stopped: a lower limit only keeps the next ones from beginning.
    """

    def __init__(
        self,
        pools: Callable[[], Mapping[str, PoolState]],
        actors: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with two trials.

        Args:
            pools: Says what the actors are doing.
            actors: Number of reasoner actors.
            clock: Seconds.
        """
        self._pools, self._clock = pools, clock
        self._limit = _FIRST
        self._most = max(_FIRST, min(_MOST, actors + 1))
        self._changed = clock()

    def limit(self) -> int:
        """Return how many trials may run now."""
        now = self._clock()
        pools = self._pools()
        # What a change has led to shows after a while.
        if pools and now - self._changed >= _SETTLE_S:
            change = _wanted_change(pools)
            limit = min(self._most, max(1, self._limit + change))
            if limit != self._limit:
                self._limit, self._changed = limit, now
        return self._limit


def _wanted_change(pools: Mapping[str, PoolState]) -> int:
    if any(pool.waiting > _CROWDED * max(1, pool.answering) for pool in pools.values()):
        return -1
    # Where the slowest stage is busy, more trials would not make anything faster.
    idle = all(pool.busy < _IDLE and pool.answering == pool.actors for pool in pools.values())
    return 1 if idle else 0
