"""Kills and disturbs things at random moments of a small sweep, and looks whether anybody can tell afterwards.

    python -m benchmarks.drill --kills 30 --seed 0

A sweep runs undisturbed once. Then it runs again and again, each time in a run directory and with a store of its own,
while its driver, a reasoner or scorer actor, a node, the whole cluster or the MLflow server is killed with SIGKILL at
random moments; or another sweep begins in its run directory, its driver is stopped for longer than its lease and goes
on when the same command has taken over, or its disk is full until it ends. A sweep that died is started again with the
same command until it ends well. Afterwards every curve must be byte-identical to the undisturbed one, every trajectory
and score be there once and equal to the bit, and every metric in MLflow have every step once.
"""

import argparse
import random
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
from benchmarks.drill_sweep import DisturbedSweep

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
_FIRST_WITHIN, _NEXT_WITHIN = 0.8, 0.5
"""Parts of the time that the undisturbed sweep took into which the first kill of a sweep falls, and, counted from the
kill before, each of the next: by then the sweep is further than from a fresh start."""


@dataclass(frozen=True)
class Kill:
    """What was killed, and when.

    Attributes:
        victim: A key of `DisturbedSweep.disturbances`.
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
        started = time.monotonic()
        self._undisturbed = self._sweep("undisturbed")
        if self._undisturbed.process.wait() != 0:
            raise RuntimeError(f"the undisturbed sweep failed; see {self._undisturbed.log}")
        self._seconds = time.monotonic() - started
        self.disturbances = list(self._undisturbed.disturbances)

    def close(self) -> None:
        """Give back what the undisturbed sweep has left."""
        self._undisturbed.close()

    def disturbed(self, name: str, disturbances: Sequence[str]) -> tuple[list[Kill], list[str]]:
        """Run the sweep, disturbing it in one way after the other, until it ends well.

        Returns:
            What was done, less than was named if the sweep was over before its last kill; and what is wrong.
        """
        kills: list[Kill] = []
        sweep = self._sweep(name)
        try:
            for disturbance in disturbances:
                kill = self._kill(sweep, disturbance, within=_NEXT_WITHIN if kills else _FIRST_WITHIN)
                if kill is None:
                    break
                kills.append(kill)
            for _ in range(_MOST_RESTARTS):
                if sweep.process.wait() == 0:
                    return kills, sweep.wrong + self._differences(sweep)
                sweep.start_again()
            raise RuntimeError(f"the sweep did not end well; see {sweep.log}")
        finally:
            sweep.close()

    def _sweep(self, name: str) -> DisturbedSweep:
        return DisturbedSweep(self._stage, self._config, self._folder, name)

    def _kill(self, sweep: DisturbedSweep, disturbance: str, within: float) -> Kill | None:
        """Disturb at a random moment, a sweep that has died meanwhile being started again; None if it ends before."""
        started = time.monotonic()
        moment = self._rng.uniform(0.0, within * self._seconds)
        while time.monotonic() - started < moment or not sweep.can_be(disturbance):
            if sweep.process.poll() == 0:
                return None
            if sweep.process.poll() is not None:
                sweep.start_again()
            time.sleep(0.1)
        shards, after = len(sweep.shards()), time.monotonic() - started
        ended = sweep.disturbances[disturbance](self._rng)
        if ended:
            sweep.start_again()
        return Kill(disturbance, after, shards, ended)

    def _differences(self, sweep: DisturbedSweep) -> list[str]:
        """Return what distinguishes a disturbed sweep from the undisturbed one; nothing, if all is well."""
        found = []
        for file in ("curves.csv", "comparisons.csv", "difficulty.csv", "objectives.csv", "questions.csv"):
            if (sweep.out / file).read_bytes() != (self._undisturbed.out / file).read_bytes():
                found.append(f"{file} differs")
        return found + self._different_rows(sweep) + self._different_metrics(sweep)

    def _different_rows(self, sweep: DisturbedSweep) -> list[str]:
        sweeps = (sweep, self._undisturbed)
        stores = [one.store for one in sweeps]
        folders = [{str(shard.parent.relative_to(one.store)) for shard in one.shards()} for one in sweeps]
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

    def _different_metrics(self, sweep: DisturbedSweep) -> list[str]:
        own, other = (self._metrics(one.name) for one in (sweep, self._undisturbed))
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
        victims: What is done, in this order; drawn where it is not given.

    Returns:
        What was found to be wrong; nothing, if all is well.
    """
    stage = Stage(folder)
    wrong: list[str] = []
    try:
        drill, rng = Drill(stage, folder, seed), random.Random(seed)
        try:
            if "full disk" not in drill.disturbances:
                _print("no disk is filled: this machine lets nobody mount one")
            order = list(victims) or _drawn(drill.disturbances, kills, rng)
            _print("| sweep | killed | after s | shards in store | the command |\n|---|---|---|---|---|")
            number = done = 0
            while done < len(order):
                number += 1
                kills_of_it, found = drill.disturbed(f"sweep-{number}", order[done : done + per_sweep])
                for kill in kills_of_it:
                    done += 1
                    outcome = "ended" if kill.ended else "went on"
                    _print(f"| {number} | {kill.victim} | {kill.after:.1f} | {kill.shards} | {outcome} |")
                wrong += [f"sweep-{number}: {one}" for one in found]
        finally:
            drill.close()
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
    parser.add_argument("--kills", type=int, default=30)
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
