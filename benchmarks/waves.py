"""Do waves of a budget rule let actors idle? The same work with a rule and without one, on actors that only sleep.

    python -m benchmarks.waves                          # 8 actors, 1,600 questions
    python -m benchmarks.waves --questions 4000 --per-row 0.002

An actor sleeps for every trajectory of a call, so that the work is that of the trajectories however they are cut into
calls. The run without a rule has shards of as many samples as the rule has asked for on average; both are scaled to
the same work. The pipeline is the real one, as in `benchmarks.pool`, and "busy" is what it says there.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from rich.console import Console

from benchmarks.pool import Watch
from benchmarks.sleeping_reasoner import SleepingReasoner
from latent_core.budgets import parse_budget
from latent_core.tasks.base import Problem
from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline.cluster import connect
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from workers.pool import ActorSpec, create_pool, stop_pool

_BUDGET = {"rule": "posterior", "waves": [4, 8, 16, 32, 64]}
_QUESTIONS_PER_CALL = 16


@dataclass(frozen=True)
class Line:
    """One line of the table: which run, trajectories, calls of actors, shares of busy time, seconds."""

    name: str
    rows: int
    shards: int
    busy: float
    busy_in_all: float
    work: float
    elapsed: float


def measure(name: str, actors: list[str], trial: Trial, questions: int, per_row: float) -> Line:
    """Run a trial on an empty store."""
    problems = tuple(Problem(f"question-{number}", "how many? " * 20, "0") for number in range(questions))
    sampling = Sampling(problems, tuple(actors), _QUESTIONS_PER_CALL, 64)
    board = create_board()
    started = time.monotonic()
    with Watch(actors) as watch:
        sampling.run(trial, trial.samples, board)
    elapsed = time.monotonic() - started
    snapshot: Any = ray.get(board.snapshot.remote())
    busy, in_all = watch.busy(per_row * _QUESTIONS_PER_CALL * 4)
    shards = len(trial.store.shards())
    return Line(name, snapshot.done, shards, busy, in_all, per_row * snapshot.done, elapsed)


def table(lines: list[Line], actors: int) -> str:
    """Return the lines as Markdown."""
    rows = [
        "| | trajectories | files | work, seconds of all actors | seconds | busy | busy, start and end included |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {line.name} | {line.rows:,} | {line.shards:,} | {line.work / actors:.1f} | {line.elapsed:.1f} | "
        f"{100 * line.busy:.1f} % | {100 * line.busy_in_all:.1f} % |"
        for line in lines
    ]
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--actors", type=int, default=8)
    parser.add_argument("--questions", type=int, default=1600)
    parser.add_argument("--per-row", type=float, default=0.01, help="seconds that an actor sleeps for a trajectory")
    options = parser.parse_args()
    connect(ClusterConfig(), options.actors + 4, Console(file=sys.stderr))
    spec = ActorSpec(SleepingReasoner, (0.0, options.per_row, 6), cpus=1, gpus=0)
    names = create_pool("sleeping", spec, options.actors)
    ray.get([ray.get_actor(name, namespace="latentswarm").queue_depth.remote() for name in names])
    budget = WaveBudget(parse_budget(_BUDGET))
    try:
        with tempfile.TemporaryDirectory() as store:
            key = TrajectorySpec("sleeping", "waves", {"kind": "gaussian", "sigma": 0.1}, 6, 4, 0, "float32")
            trial = Trial("waves", "gaussian", 64, (4, 64), TrajectoryStore(store, key, end_ids=(4,)), budget=budget)
            adaptive = measure("waves", names, trial, options.questions, options.per_row)
        mean = round(adaptive.rows / options.questions)
        with tempfile.TemporaryDirectory() as store:
            fixed = replace(trial, name="fixed", samples=mean, budgets=(mean,), budget=None)
            fixed = replace(fixed, store=TrajectoryStore(store, key, end_ids=(4,)))
            same = measure(f"{mean} samples each", names, fixed, options.questions, options.per_row)
    finally:
        stop_pool(names)
        ray.shutdown()
    sys.stdout.write(table([adaptive, same], options.actors) + "\n")


if __name__ == "__main__":
    main()
