"""What run and sweep have in common: plan, sample what is missing, report, track."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from latent_core.errors import UserError
from orchestrator.cluster import check_resources, connect, reasoner_pool
from orchestrator.config import save_config
from orchestrator.pipeline import Sampling
from orchestrator.plan import Plan
from orchestrator.progress import ProgressDisplay, create_board
from orchestrator.setting import Setting

if TYPE_CHECKING:
    from orchestrator.tracking import Tracker


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

    def missing(self) -> int:
        """Return how many trajectories the store lacks; a scheduler may leave some out for good."""
        return sum(shard.rows for setting in self.all_settings() for shard in self.plan.missing(setting))


@dataclass(frozen=True)
class Session:
    """What a sampling function needs: the pipeline, where progress goes, and the tracker."""

    sampling: Sampling
    board: ActorHandle[Any]
    tracker: "Tracker"

    def sample(self, setting: Setting, samples: int) -> None:
        """Sample a setting in this process, reporting to the board."""
        self.sampling.run(setting, samples, self.board)


SampleSettings = Callable[[Session, Sequence[Setting]], None]


def show_plan(experiment: Experiment, console: Console, with_cost: bool = True) -> int:
    """Print what is to be done; returns the number of trajectories that are to be sampled.

    Args:
        experiment: The experiment.
        console: Where to print.
        with_cost: Whether to estimate FLOPs, which takes seconds of importing model code.
    """
    plan, total = experiment.plan, 0
    config = plan.config
    for line in (
        f"checkpoint  {config.checkpoint}  ({plan.checkpoint.format.name}, {plan.checkpoint.fingerprint})",
        f"task        {plan.task.name}  ({len(plan.task.problems):,} questions, {plan.task_fingerprint})",
        f"rollout     {plan.latent_steps} latent steps, up to {plan.answer_tokens} answer tokens, seed {config.seed}",
        f"actors      {config.actors} x ({config.actor.cpus} CPUs, {config.actor.gpus:g} GPUs)",
        f"store       {config.store.path}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("trial", "trajectories", "in store", "to sample", *(["est. FLOPs"] if with_cost else [])):
        table.add_column(column, justify="left" if column == "trial" else "right", no_wrap=True)
    for setting in experiment.all_settings():
        shards = plan.missing(setting)
        wanted = len(plan.task.problems) * setting.samples
        missing = sum(shard.rows for shard in shards)
        cells = [setting.name, f"{wanted:,}", f"{wanted - missing:,}", f"{missing:,}"]
        table.add_row(*cells, *([f"{plan.estimated_flops(setting, shards):.3g}"] if with_cost else []))
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
        save_config(plan.config, out / "config.yaml")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    missing = show_plan(experiment, console, with_cost=False)
    if missing == 0:
        console.print("everything is in the store: nothing to sample")
        tracker = _start_tracking(experiment)
    else:
        for setting in experiment.all_settings():
            setting.store.prepare()
        tracker = _sample_missing(experiment, sample, missing, console)
    from orchestrator.conclusion import conclude

    try:
        conclude(experiment, tracker, missing, time.monotonic() - started, console)
    except BaseException:
        tracker.end("FAILED")
        raise


def _sample_missing(experiment: Experiment, sample: SampleSettings, missing: int, console: Console) -> "Tracker":
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


def _start_tracking(experiment: Experiment) -> "Tracker":
    # MLflow takes seconds to import and to open its database: time in which trajectories can be on their way.
    from orchestrator.conclusion import start_tracking

    return start_tracking(experiment)
