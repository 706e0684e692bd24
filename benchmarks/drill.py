"""Kills things at random moments of a small sweep, and looks whether anybody can tell afterwards.

    python -m benchmarks.drill --kills 20 --seed 0

A sweep runs undisturbed once. Then it runs again and again, each time in a run directory and with a store of its own,
while its driver, a reasoner or scorer actor, a node, the whole cluster or the MLflow server is killed with SIGKILL at
random moments; a sweep that died is started again with the same command until it ends well. Afterwards every curve
must be byte-identical to the undisturbed one, every trajectory and score be there once and equal to the bit, and every
metric in MLflow have every step once.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from mlflow import MlflowClient

from benchmarks.drill_cluster import Stage

_SWEEP = {
    "checkpoint": "bundled:coconut-paths",
    "task": {"name": "path_finding", "limit": 24},
    "budgets": [1, 2, 4, 8],
    "answer_tokens": 8,
    "actors": 2,
    "micro_batch": 2,
    "scorer": {"checkpoint": "bundled:latent-rm-tiny"},
    "search": {"kind": "beam", "beams": [2], "candidates": 2},
    "sweep": {
        "objective": "best_of_n",
        "space": [
            {"sampler.kind": "gaussian", "sampler.sigma": [0.5, 1.0], "sampler.relative": True},
            {"sampler.kind": "mc_dropout", "sampler.p": 0.2},
        ],
    },
}
_MOST_RESTARTS = 12
_NOTICE_S = 120.0
"""How long a driver may take to notice that its cluster is gone."""
_FIRST_WITHIN, _NEXT_WITHIN = 0.8, 0.5
"""Parts of the time that the undisturbed sweep took into which the first kill of a sweep falls, and, counted from the
kill before, each of the next: by then the sweep is further than from a fresh start."""


@dataclass(frozen=True)
class Kill:
    """What was killed, and when.

    Attributes:
        victim: A key of `Stage.victims`.
        after: Seconds after the sweep was started, or after the kill before.
        shards: Files of trajectories, beams and scores that the store held then.
        ended: Whether the command ended because of it.
    """

    victim: str
    after: float
    shards: int
    ended: bool


class Drill:
    """Runs sweeps on a stage and disturbs them."""

    def __init__(self, stage: Stage, folder: Path, seed: int) -> None:
        """Write the configuration of the sweep; what it writes lies below a folder."""
        self._stage, self._folder, self._rng = stage, folder, random.Random(seed)
        self._config = folder / "drill.yaml"
        self._config.write_text(yaml.safe_dump(_SWEEP))
        self._seconds = 0.0

    def undisturbed(self) -> None:
        """Run the sweep and leave it alone."""
        started = time.monotonic()
        self._start("undisturbed")
        if self._sweep.wait() != 0:
            raise RuntimeError(f"the undisturbed sweep failed; see {self._folder / 'undisturbed.log'}")
        self._seconds = time.monotonic() - started

    def disturbed(self, name: str, victims: Sequence[str]) -> list[Kill]:
        """Run the sweep, killing one victim after the other, until it ends well.

        Returns:
            What was killed: fewer than were named, if the sweep was over before its last kill.
        """
        kills: list[Kill] = []
        self._start(name)
        for victim in victims:
            kill = self._kill(name, victim, within=_NEXT_WITHIN if kills else _FIRST_WITHIN)
            if kill is None:
                break
            kills.append(kill)
        for _ in range(_MOST_RESTARTS):
            if self._sweep.wait() == 0:
                return kills
            self._start(name)
        raise RuntimeError(f"the sweep did not end well; see {self._folder / name}.log")

    def _kill(self, name: str, victim: str, within: float) -> Kill | None:
        """Kill at a random moment, a sweep that has died meanwhile being started again; None if it ends before."""
        started = time.monotonic()
        moment = self._rng.uniform(0.0, within * self._seconds)
        while time.monotonic() - started < moment or not self._can_be_killed(victim):
            if self._sweep.poll() == 0:
                return None
            if self._sweep.poll() is not None:
                self._start(name)
            time.sleep(0.1)
        shards, after = len(_shards(self._folder / f"{name}-store")), time.monotonic() - started
        self._stage.victims[victim](self._rng)
        ended = self._ends(_NOTICE_S if victim == "cluster" else 1.0)
        if ended:
            self._start(name)
        return Kill(victim, after, shards, ended)

    def _ends(self, seconds: float) -> bool:
        try:
            self._sweep.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def _sweep(self) -> subprocess.Popen[bytes]:
        assert self._stage.sweep is not None
        return self._stage.sweep

    def _can_be_killed(self, victim: str) -> bool:
        return victim not in ("reasoner", "scorer") or self._stage.has_actor(victim)

    def _start(self, name: str) -> None:
        out, store = self._folder / name, self._folder / f"{name}-store"
        arguments = [str(self._config), "--out", str(out), f"store.path={store}", f"tracking.experiment={name}"]
        self._stage.start_sweep(arguments, self._folder / f"{name}.log")

    def differences(self, name: str) -> list[str]:
        """Return what distinguishes a disturbed sweep from the undisturbed one; nothing, if all is well."""
        found = []
        for file in ("curves.csv", "comparisons.csv", "difficulty.csv", "objectives.csv", "questions.csv"):
            own, other = (self._folder / one / file for one in (name, "undisturbed"))
            if own.read_bytes() != other.read_bytes():
                found.append(f"{file} differs")
        return found + self._different_rows(name) + self._different_metrics(name)

    def _different_rows(self, name: str) -> list[str]:
        stores = [self._folder / f"{one}-store" for one in (name, "undisturbed")]
        folders = [{str(shard.parent.relative_to(store)) for shard in _shards(store)} for store in stores]
        if folders[0] != folders[1]:
            return [f"the store has other folders: {folders[0] ^ folders[1]}"]
        found = []
        for folder in sorted(folders[0]):
            own, other = (_rows(store / folder) for store in stores)
            if own.duplicated(["question_index", "sample_index"]).any():
                found.append(f"{folder}: rows are there twice")
            elif not own.equals(other):
                found.append(f"{folder}: {len(own)} rows, {len(other)} in the undisturbed store, or other content")
        return found

    def _different_metrics(self, name: str) -> list[str]:
        own, other = (self._metrics(one) for one in (name, "undisturbed"))
        twice = [key for key, points in own.items() if len({step for step, _ in points}) != len(points)]
        if twice:
            return [f"MLflow has steps twice: {twice[0]}"]
        differ = sorted(str(key) for key in set(own) | set(other) if own.get(key) != other.get(key))
        return [f"MLflow has other metrics: {differ[0]} and {len(differ) - 1} more"] if differ else []

    def _metrics(self, experiment: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        client = MlflowClient(self._stage.tracking_uri)
        found = client.get_experiment_by_name(experiment)
        assert found is not None
        metrics: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for run in client.search_runs([found.experiment_id]):
            # The top run is called like the run directory, which differs.
            name = str(run.info.run_name) if "mlflow.parentRunId" in run.data.tags else "top"
            for key in run.data.metrics:
                points = client.get_metric_history(run.info.run_id, key)
                metrics.setdefault((name, key), []).extend(sorted((point.step, point.value) for point in points))
        return metrics


def _shards(store: Path) -> list[Path]:
    return list(store.rglob("q*.parquet"))


def _rows(folder: Path) -> pd.DataFrame:
    """Read all rows of a folder of shards without clock readings, lists as bytes, so that every bit is compared."""
    rows = pd.concat([pd.read_parquet(file) for file in folder.glob("q*.parquet")], ignore_index=True)
    rows = rows.drop(columns=[name for name in rows if name.endswith("seconds")])
    for name in rows:
        if rows[name].map(lambda value: isinstance(value, np.ndarray)).any():
            rows[name] = [None if value is None else value.tobytes() for value in rows[name]]
    return rows.sort_values(["question_index", "sample_index"], ignore_index=True)


def run_drill(folder: Path, kills: int, per_sweep: int, seed: int, victims: Sequence[str] = ()) -> list[str]:
    """Carry out a drill and print what happens.

    Args:
        folder: Where everything is written.
        kills: How many.
        per_sweep: How many of them hit the same sweep.
        seed: Of victims and moments.
        victims: What is killed, in this order; drawn where it is not given.

    Returns:
        What was found to be wrong; nothing, if all is well.
    """
    stage = Stage(folder)
    wrong: list[str] = []
    try:
        drill, rng = Drill(stage, folder, seed), random.Random(seed)
        order = list(victims) or _drawn(list(stage.victims), kills, rng)
        drill.undisturbed()
        _print("| sweep | killed | after s | shards in store | the command |\n|---|---|---|---|---|")
        number = done = 0
        while done < len(order):
            number += 1
            name = f"sweep-{number}"
            for kill in drill.disturbed(name, order[done : done + per_sweep]):
                done += 1
                outcome = "ended" if kill.ended else "went on"
                _print(f"| {number} | {kill.victim} | {kill.after:.1f} | {kill.shards} | {outcome} |")
            wrong += [f"{name}: {one}" for one in drill.differences(name)]
    finally:
        stage.close()
    _print("\n".join(wrong) if wrong else f"\n{len(order)} kills: nothing lost, nothing doubled, every curve the same")
    return wrong


def _drawn(victims: list[str], kills: int, rng: random.Random) -> list[str]:
    """Draw what is killed, each kind about equally often."""
    order = (victims * (kills // len(victims) + 1))[:kills]
    rng.shuffle(order)
    return order


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the command line and carry out a drill; returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--per-sweep", type=int, default=4, help="kills that hit the same sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where logs, stores and results are kept (default: thrown away)")
    options = parser.parse_args()
    if options.out is not None:
        options.out.mkdir(parents=True)
        return int(bool(run_drill(options.out.absolute(), options.kills, options.per_sweep, options.seed)))
    with tempfile.TemporaryDirectory() as folder:
        return int(bool(run_drill(Path(folder), options.kills, options.per_sweep, options.seed)))


if __name__ == "__main__":
    sys.exit(main())
