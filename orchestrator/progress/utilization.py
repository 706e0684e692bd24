"""Actor utilization, polled in a thread: for the progress display and the number of trials at the same time."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray

from workers.model_actor import Activity
from workers.pool import ActorPool

_EVERY_S = 1.0
_ANSWERS_PER_S = 100
"""Large pools are asked less often: every answer is a message to this process."""
_WINDOW_S = 5.0


@dataclass(frozen=True)
class PoolState:
    """Utilization and queue of a pool of actors.

    Attributes:
        actors: Its size.
        answering: How many of them are there; the others are starting or restarting.
        requests: Requests that they compute or that wait at them.
        busy: Share of the last seconds in which they computed, over all of them; 0 to 1.
    """

    actors: int
    answering: int
    requests: int
    busy: float

    @property
    def waiting(self) -> int:
        """Requests that no actor computes yet."""
        return max(0, self.requests - self.answering)


class ActorMeter:
    """Utilization monitor, a context manager: asks the actors of some pools in a thread of its own."""

    def __init__(self, pools: Mapping[str, Sequence[str]]) -> None:
        """Watch pools, given as the names of their actors; empty ones are left out."""
        self._names = {pool: tuple(names) for pool, names in pools.items() if names}
        self._pools: dict[str, ActorPool] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="actor-meter")
        self._seen: dict[str, list[tuple[float, list[Activity | None]]]] = {pool: [] for pool in self._names}

    def __enter__(self) -> "ActorMeter":
        """Start to ask."""
        self._pools = {pool: ActorPool(names) for pool, names in self._names.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join()

    def state(self) -> dict[str, PoolState]:
        """Return what each pool is doing; nothing as long as none has been asked."""
        return {pool: pool_state(seen) for pool, seen in self._seen.items() if seen}

    def _watch(self) -> None:
        every = max(_EVERY_S, sum(map(len, self._names.values())) / _ANSWERS_PER_S)
        while not self._stop.wait(every):
            for name, pool in self._pools.items():
                try:
                    answers = pool.activity()
                except ray.exceptions.RayError:
                    # The run itself reports what is wrong with the cluster.
                    return
                now = time.monotonic()
                recent = [one for one in self._seen[name] if one[0] > now - _WINDOW_S]
                self._seen[name] = [*recent, (now, answers)]


def pool_state(seen: Sequence[tuple[float, Sequence[Activity | None]]]) -> PoolState:
    """Make a state of what the actors of a pool have answered.

    Args:
        seen: At least one pair of a time in seconds and the answers, the latest last.
    """
    (first_time, first), (last_time, last) = seen[0], seen[-1]
    elapsed = last_time - first_time
    shares = [
        # An actor that was restarted counts from nothing again.
        max(0.0, now.busy_seconds - before.busy_seconds) / elapsed
        for before, now in zip(first, last, strict=True)
        if elapsed > 0 and before is not None and now is not None
    ]
    present = [one for one in last if one is not None]
    busy = min(1.0, sum(shares) / len(last))
    return PoolState(len(last), len(present), sum(one.requests for one in present), busy)
