"""What run and sweep have in common: plan, sample what is missing, report, track."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.table import Table

from latent_core.errors import UserError
from orchestrator.cluster import check_resources, connect, cpus_needed, reasoner_pool, scorer_pool
from orchestrator.config import save_config
from orchestrator.pipeline import Sampling
from orchestrator.plan import Plan
from orchestrator.progress import ProgressDisplay, create_board
from orchestrator.run_directory import check_run_file, write_run_file
from orchestrator.setting import Setting
from orchestrator.tracking.places import check_tracking, tracking_uri

if TYPE_CHECKING:
    from orchestrator.tracking.tracker import Tracker


_LAST_WORDS_SECONDS = 10.0
"""How long a failed experiment waits for MLflow to be told so."""


@dataclass(frozen=True)
class Experiment:
    """A checked run or sweep.

    Attributes:
        name: What MLflow calls it.
        plan: The plan.
        settings: The sampled settings, greedy not among them.
        out: The run directory.
        searches: The beam searches that go with a setting, by its name.
        command: "run" or "sweep".
    """

    name: str
    plan: Plan
    settings: tuple[Setting, ...]
    out: Path
    searches: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    command: str = "run"

    def sampled_settings(self) -> tuple[Setting, ...]:
        """Greedy first, unless it is what was asked for, then the sampled settings."""
        greedy = self.plan.greedy()
        others = [setting for setting in self.settings if setting.store.spec != greedy.store.spec]
        return (greedy, *others)

    def all_settings(self) -> tuple[Setting, ...]:
        """The sampled settings, each followed by its beam searches."""
        return tuple(one for setting in self.sampled_settings() for one in (setting, *self.searches_of(setting)))

    def with_searches(self) -> list[tuple[Setting, tuple[Setting, ...]]]:
        """The sampled settings, each beside its beam searches."""
        return [(setting, self.searches_of(setting)) for setting in self.sampled_settings()]

    def searches_of(self, setting: Setting) -> tuple[Setting, ...]:
        """Return the beam searches that go with a setting."""
        return self.searches.get(setting.name, ())

    def missing(self) -> int:
        """Return how many trajectories the store lacks; a scheduler may leave some out for good."""
        return sum(shard.rows for setting in self.all_settings() for shard in self.plan.missing(setting))


@dataclass(frozen=True)
class Session:
    """What a sampling function needs: the pipeline, where progress goes, the tracker, and the beam searches."""

    sampling: Sampling
    board: ActorHandle[Any]
    tracker: "Tracker"
    searches: Mapping[str, tuple[Setting, ...]]

    def sample(self, setting: Setting) -> None:
        """Sample a setting and carry out its searches in this process, reporting to the board."""
        for one in (setting, *self.searches.get(setting.name, ())):
            self.sampling.run(one, one.samples, self.board)


SampleSettings = Callable[[Session, Sequence[Setting]], None]


def show_plan(experiment: Experiment, console: Console, with_cost: bool = True) -> int:
    """Print what is to be done; returns the number of trajectories that are to be sampled, or only scored.

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
        *_scorer_lines(plan),
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    columns = ["trial", "trajectories", "in store", "to sample"]
    columns += ["to score"] if plan.scorer else []
    for column in (*columns, *(["est. FLOPs"] if with_cost else [])):
        table.add_column(column, justify="left" if column == "trial" else "right", no_wrap=True)
    for setting in experiment.all_settings():
        shards = plan.missing(setting)
        wanted = len(plan.task.problems) * setting.samples
        missing = sum(shard.rows for shard in shards)
        unscored = sum(shard.rows for shard in plan.unscored(setting))
        cells = [setting.name, f"{wanted:,}", f"{wanted - missing:,}", f"{missing:,}"]
        if plan.scorer:
            cells.append(f"{unscored + missing:,}" if setting.scored else "-")
        table.add_row(*cells, *([f"{plan.estimated_flops(setting, shards):.3g}"] if with_cost else []))
        total += missing + unscored
    console.print(table)
    return total


def _scorer_lines(plan: Plan) -> list[str]:
    if plan.scorer is None:
        return []
    reads = "latents and answers" if plan.scorer.score_answer else "latents"
    return [f"LatentRM    {plan.config.scorer.checkpoint}  (reads {reads}, {plan.scorer.reward.fingerprint})"]


def carry_out(experiment: Experiment, sample: SampleSettings, console: Console) -> None:
    """Sample what is missing, then report and track.

    Raises:
        UserError: If the run directory, the store or the cluster cannot be used.
    """
    started = time.monotonic()
    plan, out = experiment.plan, experiment.out
    check_run_file(out)
    check_tracking(tracking_uri(plan.config.tracking, out))
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_config(plan.config, out / "config.yaml")
        write_run_file(out, experiment.command, len(plan.problems), experiment.with_searches())
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    to_do, missing = show_plan(experiment, console, with_cost=False), experiment.missing()
    if to_do == 0:
        console.print("everything is in the store: nothing to sample or to score")
        tracker = _start_tracking(experiment, console)
    else:
        for setting in experiment.all_settings():
            setting.store.prepare()
        tracker = _sample_missing(experiment, sample, to_do, console)
    from orchestrator.conclusion import conclude

    try:
        conclude(experiment, tracker, missing, time.monotonic() - started, console)
    except BaseException:
        tracker.end("FAILED")
        tracker.close(_LAST_WORDS_SECONDS)
        raise


def _sample_missing(experiment: Experiment, sample: SampleSettings, to_do: int, console: Console) -> "Tracker":
    plan = experiment.plan
    connect(plan.config.cluster, cpus_needed(plan.config), console)
    check_resources(plan.config)
    greedy, *others = experiment.sampled_settings()
    tracker: Tracker | None = None
    try:
        with reasoner_pool(plan) as reasoners, scorer_pool(plan) as scorers:
            board = create_board()
            per_shard = plan.config.store.samples_per_shard
            sampling = Sampling(plan.problems, reasoners, plan.config.micro_batch, per_shard, scorers)
            with ProgressDisplay(board, to_do, console):
                # Greedy comes first: its trajectories are on the way while the tracking database is being opened.
                sampling.run(greedy, greedy.samples, board)
                tracker = _start_tracking(experiment, console)
                sample(Session(sampling, board, tracker, experiment.searches), others)
    except BaseException as error:
        if tracker is not None:
            tracker.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            tracker.close(_LAST_WORDS_SECONDS)
        raise
    finally:
        ray.shutdown()
    return tracker


def _start_tracking(experiment: Experiment, console: Console) -> "Tracker":
    # Drawing and tracking import a lot: time in which trajectories can be on their way.
    from orchestrator.conclusion import start_tracking

    return start_tracking(experiment, console)
