"""What happens with more actors than this machine can hold: a simulation of the pipeline, shard by shard.

    python -m benchmarks.simulated_pool

Shards go through stations as they do in a run. The driver, one process, hands a shard out and takes its receipt. A
dispatcher, one process for 16 calls, calls actors and receives what they have computed. An actor computes.
The service times of driver and dispatcher are what `benchmarks.pool` measures as CPU seconds per shard; a shard's time
at an actor varies from shard to shard, as answers of different lengths make it vary. What is not modelled: starting of
processes, the network, and the store, which costs writers and nobody who waits.
"""

import argparse
import heapq
import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.pipeline.dispatch import calls_at_once

_VARIATION = 0.2
"""Standard deviation of a shard's time at an actor, as a share of its mean."""


@dataclass(frozen=True)
class Costs:
    """Seconds of CPU time per shard.

    Attributes:
        driver: Of the process that runs the pipeline; half to hand a shard out, half to take its receipt.
        dispatcher: Of the process that waits for calls.
    """

    driver: float
    dispatcher: float


@dataclass
class Station:
    """A process that does one thing at a time, first come, first served.

    Attributes:
        free_at: When it has done all that it was given so far.
        used: Seconds that it has worked.
    """

    free_at: float = 0.0
    used: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Give it something to do; returns when that is done."""
        self.free_at = max(self.free_at, now) + seconds
        self.used += seconds
        return self.free_at


@dataclass
class Pool:
    """Actors with the calls that they have."""

    size: int
    waiting: list[deque[float]] = field(init=False)
    calls: list[int] = field(init=False)
    computing: list[bool] = field(init=False)
    busy: float = 0.0

    def __post_init__(self) -> None:
        """Begin without any call."""
        self.waiting = [deque() for _ in range(self.size)]
        self.calls, self.computing = [0] * self.size, [False] * self.size

    def least_busy(self, preferred: int, rng: random.Random) -> int:
        """Choose like `ActorPool`: the preferred one and three others are asked how busy they are."""
        asked = [preferred, *rng.sample(range(self.size), min(3, self.size))]
        return min(asked, key=lambda one: self.calls[one])


@dataclass(frozen=True)
class Outcome:
    """What a simulation has come to: shares of the time between the first tenth of the shards and the last tenth.

    Attributes:
        busy: Share in which actors compute.
        driver: Share in which the driver works.
        dispatcher: The same of the busiest dispatcher.
        shards_per_second: Rate.
    """

    busy: float
    driver: float
    dispatcher: float
    shards_per_second: float


def simulate(actors: int, seconds: float, costs: Costs, shards_per_actor: int = 20, seed: int = 0) -> Outcome:
    """Run shards through the stations.

    Args:
        actors: Size of the pool.
        seconds: Mean time of a shard at an actor.
        costs: Service times of the other stations.
        shards_per_actor: How many shards there are.
        seed: Seed of the shards' times.
    """
    rng, shards = random.Random(seed), actors * shards_per_actor
    dispatchers, each = calls_at_once(actors, shards)
    driver, pool = Station(), Pool(actors)
    stations = [Station() for _ in range(dispatchers)]
    events: list[tuple[float, int, Callable[[float], None]]] = []
    state = {"handed": 0, "done": 0, "events": 0}
    marks: list[tuple[float, float, float, float]] = []

    def at(time: float, action: Callable[[float], None]) -> None:
        state["events"] += 1
        heapq.heappush(events, (time, state["events"], action))

    def hand_out(now: float, dispatcher: int) -> None:
        if state["handed"] < shards:
            number = state["handed"]
            state["handed"] += 1
            at(driver.serve(now, costs.driver / 2), lambda then: call(then, number, dispatcher))

    def call(now: float, number: int, dispatcher: int) -> None:
        actor = pool.least_busy(number % actors, rng)
        pool.calls[actor] += 1
        duration = max(0.1 * seconds, rng.gauss(seconds, _VARIATION * seconds))
        pool.waiting[actor].append(duration)
        owners[actor].append(dispatcher)
        start(now, actor)

    def start(now: float, actor: int) -> None:
        if not pool.computing[actor] and pool.waiting[actor]:
            pool.computing[actor] = True
            duration = pool.waiting[actor].popleft()
            pool.busy += duration
            at(now + duration, lambda then: computed(then, actor, owners[actor].popleft()))

    def computed(now: float, actor: int, dispatcher: int) -> None:
        pool.computing[actor] = False
        pool.calls[actor] -= 1
        start(now, actor)
        at(stations[dispatcher].serve(now, costs.dispatcher), lambda then: received(then, dispatcher))

    def received(now: float, dispatcher: int) -> None:
        at(driver.serve(now, costs.driver / 2), lambda then: done(then, dispatcher))

    def done(now: float, dispatcher: int) -> None:
        state["done"] += 1
        if state["done"] in (shards // 10, shards - shards // 10):
            marks.append((now, pool.busy, driver.used, max(station.used for station in stations)))
        hand_out(now, dispatcher)

    owners: list[deque[int]] = [deque() for _ in range(actors)]
    for slot in range(dispatchers * each):
        hand_out(0.0, slot % dispatchers)
    while events:
        time, _, action = heapq.heappop(events)
        action(time)
    (start_time, *before), (end_time, *after) = marks
    elapsed = end_time - start_time
    busy, by_driver, by_dispatcher = ((late - early) / elapsed for early, late in zip(before, after, strict=True))
    return Outcome(min(1.0, busy / actors), by_driver, by_dispatcher, 0.8 * shards / elapsed)


def main() -> None:
    """Read the command line, simulate, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--driver", type=float, default=0.015, help="CPU seconds of the driver per shard")
    parser.add_argument("--dispatcher", type=float, default=0.025, help="CPU seconds of the dispatchers per shard")
    parser.add_argument("--actors", type=int, nargs="+", default=[32, 128, 1000])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.5, 2.0, 8.0, 16.0, 32.0])
    options = parser.parse_args()
    rows = [
        "| actors | seconds a shard | actors busy | driver busy | busiest dispatcher | shards/s |",
        "|---|---|---|---|---|---|",
    ]
    for actors in options.actors:
        for seconds in options.seconds:
            one = simulate(actors, seconds, Costs(options.driver, options.dispatcher))
            rows.append(
                f"| {actors:,} | {seconds:g} | {100 * one.busy:.1f} % | {100 * one.driver:.1f} % | "
                f"{100 * one.dispatcher:.1f} % | {one.shards_per_second:.1f} |"
            )
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
