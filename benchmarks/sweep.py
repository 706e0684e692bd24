"""What does a sweep cost beside the sampling? Eight Tune trials against the same trajectories in one process.

    python -m benchmarks.sweep

Both sides use the same actors, which have been started and warmed before any clock runs, and write into empty stores:
once as eight Tune trials with their searcher, scheduler, journal and MLflow, once as the driver of `latentswarm run`
would sample them, one setting after the other. They take turns, and the ratio is that of the medians.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ray
from rich.console import Console

from orchestrator.commands.run import sample_one_by_one
from orchestrator.commands.sweep import sample_with_tune
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_sweep
from orchestrator.experiment.execution import ExperimentRun
from orchestrator.experiment.experiment import missing
from orchestrator.experiment.finalize import start_tracking
from orchestrator.pipeline.cluster import connect, cpus_needed, reasoner_pool
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.progress.utilization import ActorMeter
from orchestrator.store.trial import Trial

Sample = Callable[[ExperimentRun, Sequence[Trial]], None]
_SIDES: dict[str, Sample] = {"run": sample_one_by_one, "sweep": sample_with_tune}


def configuration(questions: int, samples: int, folder: Path) -> RunConfig:
    """Return a sweep of eight settings over the bundled word-problem reasoner, with two actors."""
    return parse_config(
        RunConfig,
        {
            "checkpoint": "bundled:coconut-tiny",
            "task": {"name": "word_problems", "limit": questions},
            "budgets": [1, samples],
            "answer_tokens": 8,
            "actors": 2,
            "micro_batch": 16,
            "store": {"path": str(folder / "store")},
            "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"},
            "sweep": {
                "space": [
                    {"sampler.kind": "mc_dropout", "sampler.p": [0.05, 0.1, 0.2, 0.3]},
                    {"sampler.kind": "gaussian", "sampler.sigma": [0.2, 0.3, 0.4, 0.5], "sampler.relative": True},
                ]
            },
        },
    )


def measure(repeats: int, questions: int, samples: int) -> dict[str, list[float]]:
    """Return the seconds of both sides, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in _SIDES}
    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        first = configuration(questions, samples, Path(folder))
        connect(first.cluster, cpus_needed(first), quiet)
        try:
            fingerprint = plan_sweep("warm", first, Path(folder)).plan.checkpoint.fingerprint
            with reasoner_pool(first, fingerprint) as reasoners:
                # Round 0 warms both sides: processes of stages and trials stay and are used again.
                for number in range(repeats + 1):
                    for name, sample in _SIDES.items():
                        took = _once(sample, reasoners, Path(folder, f"{name}-{number}"), questions, samples)
                        if number:
                            seconds[name].append(took)
        finally:
            ray.shutdown()
    return seconds


def _once(sample: Sample, reasoners: tuple[str, ...], out: Path, questions: int, samples: int) -> float:
    out.mkdir()
    config = configuration(questions, samples, out)
    experiment = plan_sweep(out.name, config, out)
    sampling = Sampling(experiment.plan.problems, reasoners, config.micro_batch, config.store.samples_per_shard)
    tracker = start_tracking(experiment, Console(quiet=True))
    tracker.flush()
    with ActorMeter({"reasoners": reasoners}) as meter:
        run = ExperimentRun(experiment, sampling, create_board(), tracker, meter, resumed=False, missing=0)
        started = time.monotonic()
        sample(run, experiment.trials)
        took = time.monotonic() - started
    tracker.close()
    left = missing(experiment.coverage()) - len(experiment.plan.problems)
    if left:
        raise RuntimeError(f"{out.name}: {left} trajectories are missing")
    return took


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--samples", type=int, default=32)
    options = parser.parse_args()
    seconds = measure(options.repeats, options.questions, options.samples)
    rows = 8 * options.questions * options.samples
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = [
        f"8 settings x {options.questions} questions x {options.samples} samples, 2 actors; "
        f"{os.cpu_count()} cores, {platform.machine()}, Ray {ray.__version__}",
        "",
        "| | seconds | rows/s |",
        "|---|---|---|",
        *(
            f"| {name} | {' '.join(f'{value:.1f}' for value in values)} | {rows / medians[name]:,.0f} |"
            for name, values in seconds.items()
        ),
        "",
        f"sweep / run, medians: {medians['sweep'] / medians['run']:.3f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
