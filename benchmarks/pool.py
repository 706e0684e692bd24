"""What does the orchestrator cost? Actors that only sleep, and everything else as in a run.

    python -m benchmarks.pool                              # 32 actors, two seconds a shard
    python -m benchmarks.pool --actors 8 --seconds 0.05 --rows 10000 100000 1000000

The pipeline is the real one: shards, Ray Data, named actors, Parquet files, the progress board. A line says how much of
the time the actors were busy: from when all of them have done two shards until the first one finds nothing left to do,
and in all, the starting of processes included. Driver memory is what the process holds that has called for it all.
"""

import argparse
import math
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from rich.console import Console

from benchmarks.sleeping_reasoner import SleepingReasoner
from latent_core.tasks.base import Problem
from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline.cluster import connect
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from workers.pool import ActorPool, ActorSpec, create_pool, stop_pool

_LATENT_STEPS = 6
_EVERY_S = 0.5
_DISPATCHER = "MapWorker"
"""What Ray Data calls the processes of a stage that runs in actors."""


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        actors: Number of actors.
        seconds: What a shard takes at an actor.
        shards: Number of shards.
        rows: Number of trajectories.
        busy: Share of the time in which actors were busy, once all had done two shards and until one had nothing left.
        busy_in_all: The same from the first call to the last receipt.
        elapsed: Seconds from the first call to the last receipt.
        cpu: CPU seconds per shard of the driver, and of the processes that wait for the actors.
        memory: Bytes that the driver held at the end, and before it began.
        peak: Most bytes that it held in between.
    """

    actors: int
    seconds: float
    shards: int
    rows: int
    busy: float
    busy_in_all: float
    elapsed: float
    cpu: tuple[float, float]
    memory: tuple[float, float]
    peak: float


class Watch:
    """Asks actors how busy they have been, and the system how large this process is, now and then."""

    def __init__(self, names: list[str]) -> None:
        """Watch actors."""
        self._pool = ActorPool(names)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: list[tuple[float, list[float]]] = []
        self.sizes: list[float] = []
        self._waited: dict[int, float] = {}

    def __enter__(self) -> "Watch":
        """Begin."""
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()
        self._look()

    def busy(self, seconds: float) -> tuple[float, float]:
        """Return the share of busy time while everybody had something to do, and in all.

        Args:
            seconds: What a shard takes: who has computed for longer than two of them is in the middle of its work.
        """
        last = self.seen[-1][1]
        # The first actor that computes nothing any more ends the time in which there was work for all.
        middle = [
            index
            for index, (_, busy) in enumerate(self.seen)
            if min(busy) > 2 * seconds and min(map(float.__sub__, last, busy)) > seconds / 100
        ]
        steady = self._share(middle[0], middle[-1]) if len(middle) > 1 else math.nan
        return steady, self._share(0, len(self.seen) - 1)

    def _share(self, first: int, last: int) -> float:
        (start, before), (end, after) = self.seen[first], self.seen[last]
        return (sum(after) - sum(before)) / ((end - start) * len(after))

    def waiting_cpu(self) -> float:
        """Return the CPU seconds of the dispatchers."""
        return sum(self._waited.values())

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        answers = self._pool.activity()
        present = [answer.busy_seconds for answer in answers if answer is not None]
        if len(present) == len(answers):
            self.seen.append((time.monotonic(), present))
        self.sizes.append(resident_bytes())
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess):
                if any(_DISPATCHER in word for word in process.cmdline()[:1]):
                    times = process.cpu_times()
                    self._waited[process.pid] = times.user + times.system


def resident_bytes() -> float:
    """Return how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def measure(names: list[str], rows: int, questions: int, samples: int, seconds: float, store: str) -> Line:
    """Sample so many trajectories, in shards of questions x samples, into an empty store."""
    shards = max(1, round(rows / (questions * samples)))
    problems = tuple(Problem(f"question-{number}", "how many? " * 20, "0") for number in range(shards * questions))
    spec = TrajectorySpec("sleeping", f"{rows}", {"kind": "gaussian", "sigma": 0.1}, _LATENT_STEPS, 4, 0, "float32")
    trial = Trial("sleeping", "gaussian", samples, (samples,), TrajectoryStore(store, spec))
    sampling = Sampling(problems, tuple(names), questions, samples)
    board = create_board()
    before = resident_bytes()
    started, used = time.monotonic(), time.process_time()
    with Watch(names) as watch:
        sampling.run(trial, samples, board)
    elapsed, used = time.monotonic() - started, time.process_time() - used
    snapshot: Any = ray.get(board.snapshot.remote())
    assert snapshot.done == shards * questions * samples, snapshot
    busy, in_all = watch.busy(seconds)
    return Line(
        actors=len(names),
        seconds=seconds,
        shards=shards,
        rows=snapshot.done,
        busy=busy,
        busy_in_all=in_all,
        elapsed=elapsed,
        cpu=(used / shards, watch.waiting_cpu() / shards),
        memory=(resident_bytes(), before),
        peak=max(watch.sizes),
    )


def table(lines: list[Line]) -> str:
    """Return the lines as Markdown."""
    rows = [
        "| actors | seconds a shard | shards | trajectories | busy | busy, start and end included | seconds | "
        "driver, CPU ms a shard | dispatchers, CPU ms a shard | driver before, MB | peak, MB | after, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        after, before = line.memory
        rows.append(
            f"| {line.actors} | {line.seconds:g} | {line.shards:,} | {line.rows:,} | {100 * line.busy:.1f} % | "
            f"{100 * line.busy_in_all:.1f} % | {line.elapsed:.0f} | "
            f"{1e3 * line.cpu[0]:.1f} | {1e3 * line.cpu[1]:.1f} | {before / 1e6:,.0f} | {line.peak / 1e6:,.0f} | "
            f"{after / 1e6:,.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--actors", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0, help="what a shard takes at an actor")
    parser.add_argument("--rows", type=int, nargs="+", default=[655_360], help="trajectories; one line each")
    parser.add_argument("--questions", type=int, default=16, help="questions in a shard")
    parser.add_argument("--samples", type=int, default=64, help="samples in a shard")
    options = parser.parse_args()
    connect(ClusterConfig(), options.actors + 4, Console(file=sys.stderr))
    names = create_pool("sleeping", ActorSpec(SleepingReasoner, (options.seconds,), cpus=1, gpus=0), options.actors)
    ray.get([ray.get_actor(name, namespace="latentswarm").queue_depth.remote() for name in names])
    lines = []
    try:
        for rows in options.rows:
            with tempfile.TemporaryDirectory() as store:
                line = measure(names, rows, options.questions, options.samples, options.seconds, store)
            lines.append(line)
            sys.stderr.write(f"{line}\n")
    finally:
        stop_pool(names)
        ray.shutdown()
    sys.stdout.write(table(lines) + "\n")


if __name__ == "__main__":
    main()
