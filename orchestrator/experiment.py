"""What run and sweep have in common: plan, sample what is missing, report, track."""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from latent_core.errors import UserError
from orchestrator.cluster import check_resources, connect, reasoner_pool
from orchestrator.curves import CurveRow
from orchestrator.pipeline import Sampling
from orchestrator.plan import Plan
from orchestrator.progress import ProgressDisplay, create_board
from orchestrator.report import SettingResult, all_rows, evaluate, write_config, write_files, write_summary
from orchestrator.results import sampled_so_far
from orchestrator.setting import Setting
from orchestrator.tables import print_tables
from orchestrator.tracking import Tracker, tracking_uri


@dataclass(frozen=True)
class Experiment:
    """A checked run or sweep.

    Attributes:
        name: What MLflow calls it.
        plan: The plan.
        settings: The sampled settings, greedy not among them.
        out: The run directory.
    """

    name: str
    plan: Plan
    settings: tuple[Setting, ...]
    out: Path

    def all_settings(self) -> tuple[Setting, ...]:
        """Greedy first, unless it is what was asked for, then the sampled settings."""
        greedy = self.plan.greedy()
        others = [setting for setting in self.settings if setting.store.spec != greedy.store.spec]
        return (greedy, *others)


@dataclass(frozen=True)
class Session:
    """What a sampling function needs: the pipeline, where progress goes, and the tracker."""

    sampling: Sampling
    board: ActorHandle[Any]
    tracker: Tracker

    def sample(self, setting: Setting, samples: int) -> None:
        """Sample a setting in this process, reporting to the board."""
        self.sampling.run(setting, samples, self.board)


SampleSettings = Callable[[Session, Sequence[Setting]], None]


def show_plan(experiment: Experiment, console: Console) -> int:
    """Print what is to be done; returns the number of trajectories that are to be sampled."""
    plan, total = experiment.plan, 0
    config = plan.config
    console.print(f"checkpoint  {config.checkpoint}  ({plan.checkpoint.format.name}, {plan.checkpoint.fingerprint})")
    console.print(f"task        {plan.task.name}  ({len(plan.task.problems):,} questions, {plan.task_fingerprint})")
    console.print(
        f"rollout     {plan.latent_steps} latent steps, up to {plan.answer_tokens} answer tokens, seed {config.seed}"
    )
    console.print(f"actors      {config.actors} x ({config.actor.cpus} CPUs, {config.actor.gpus:g} GPUs)")
    console.print(f"store       {config.store.path}")
    table = Table(box=None, pad_edge=False)
    for column in ("trial", "trajectories", "in store", "to sample", "est. FLOPs"):
        table.add_column(column, justify="left" if column == "trial" else "right")
    for setting in experiment.all_settings():
        shards = plan.missing(setting)
        wanted = len(plan.task.problems) * setting.samples
        missing = sum(shard.rows for shard in shards)
        flops = plan.estimated_flops(setting, shards)
        table.add_row(setting.name, f"{wanted:,}", f"{wanted - missing:,}", f"{missing:,}", f"{flops:.3g}")
        total += missing
    console.print(table)
    return total


def carry_out(experiment: Experiment, sample: SampleSettings, console: Console) -> None:
    """Sample what is missing, then report and track.

    Raises:
        UserError: If the run directory, the store or the cluster cannot be used.
    """
    started = time.monotonic()
    plan, out = experiment.plan, experiment.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_config(out, plan.config)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    missing = show_plan(experiment, console)
    if missing == 0:
        console.print("everything is in the store: nothing to sample")
        tracker = _start_tracking(experiment)
    else:
        for setting in experiment.all_settings():
            setting.store.prepare()
        tracker = _sample_missing(experiment, sample, missing, console)
    try:
        _report(experiment, tracker, missing, time.monotonic() - started, console)
    except BaseException:
        tracker.end("FAILED")
        raise


def _sample_missing(experiment: Experiment, sample: SampleSettings, missing: int, console: Console) -> Tracker:
    plan = experiment.plan
    connect(plan.config, console)
    check_resources(plan.config)
    greedy, *others = experiment.all_settings()
    tracker: Tracker | None = None
    try:
        with reasoner_pool(plan) as reasoners:
            board = create_board()
            sampling = Sampling(plan.problems, reasoners, plan.config.micro_batch, plan.config.store.samples_per_shard)
            with ProgressDisplay(board, missing, console):
                # Greedy comes first: its trajectories are on the way while the tracking database is being opened.
                sampling.run(greedy, greedy.samples, board)
                tracker = _start_tracking(experiment)
                sample(Session(sampling, board, tracker), others)
    except KeyboardInterrupt:
        if tracker is not None:
            tracker.end("KILLED")
        raise
    except BaseException:
        if tracker is not None:
            tracker.end("FAILED")
        raise
    finally:
        ray.shutdown()
    return tracker


def _start_tracking(experiment: Experiment) -> Tracker:
    config = experiment.plan.config
    tracker = Tracker(tracking_uri(config.tracking, experiment.out), config.tracking.experiment, experiment.out)
    params = config.model_dump(mode="json", exclude={"sweep", "tracking", "cluster"})
    params["latent_steps"], params["answer_tokens"] = experiment.plan.latent_steps, experiment.plan.answer_tokens
    if len(experiment.settings) > 1:
        tracker.start_parent(experiment.name, {key: value for key, value in params.items() if key != "sampler"})
        for setting in experiment.all_settings():
            tracker.start_child(setting.name, {"sampler": setting.store.spec.sampler})
    else:
        tracker.start_child(experiment.all_settings()[-1].name, params)
    return tracker


def _report(experiment: Experiment, tracker: Tracker, sampled: int, seconds: float, console: Console) -> None:
    plan = experiment.plan
    results = [evaluate(setting, plan.task) for setting in experiment.all_settings() if _has_samples(setting, plan)]
    rows = all_rows(results, plan.task, plan.config.budgets)
    summary = {
        "name": experiment.name,
        "checkpoint": {"source": plan.config.checkpoint, "fingerprint": plan.checkpoint.fingerprint},
        "task": plan.task.name,
        "task_fingerprint": plan.task_fingerprint,
        "questions": len(plan.task.problems),
        "seed": plan.config.seed,
        "trials": [result.summary for result in results],
        "trajectories_sampled_by_this_command": sampled,
        "seconds": round(seconds, 3),
        "mlflow": {"uri": tracker.uri, "experiment_id": tracker.experiment_id, "link": tracker.ui_link()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("latentswarm", "torch", "transformers", "ray")
        },
    }
    files = write_files(experiment.out, plan.config, rows, results, summary)
    tracker.log_curves(rows)
    tracker.log_files(files)
    tracker.end()
    write_summary(experiment.out, summary)
    _print_results(experiment.out, tracker, rows, results, console)


def _has_samples(setting: Setting, plan: Plan) -> bool:
    return sampled_so_far(setting, len(plan.task.problems)) > 0


def _print_results(
    out: Path, tracker: Tracker, rows: Sequence[CurveRow], results: Sequence[SettingResult], console: Console
) -> None:
    output = Console()
    print_tables(rows, output)
    for result in results:
        if result.summary["errors"]:
            console.print(
                f"{result.setting.name}: {result.summary['errors']} of {result.summary['trajectories']} trajectories "
                f"failed and count as wrong; the first: {result.summary['first_error']}"
            )
    lines: list[tuple[str, object]] = [
        ("picture", out / "curves.png"),
        ("interactive", out / "curves.html"),
        ("all files", out),
    ]
    if tracker.ui_command() is not None:
        lines.append(("MLflow UI", tracker.ui_command()))
    lines.append(("curves there", tracker.ui_link()))
    for label, value in lines:
        output.print(f"{label:<13} {value}", soft_wrap=True, highlight=False, markup=False)
