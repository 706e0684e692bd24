"""What run and sweep have in common: plan, sample what is missing, report, track."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.analysis.curves import GREEDY
from orchestrator.config.objective import Objective
from orchestrator.config.run import save_config
from orchestrator.experiment.dry_run import show_plan
from orchestrator.experiment.fingerprint import identity
from orchestrator.experiment.plan import Plan
from orchestrator.experiment.run_directory import RunRecord, check_run_file, read_run_file, write_run_file
from orchestrator.pipeline.cluster import check_resources, connect, cpus_needed, reasoner_pool, scorer_pool
from orchestrator.pipeline.rereading import reread
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.progress.display import ProgressDisplay
from orchestrator.progress.utilization import ActorMeter
from orchestrator.store.trial import Trial, WithSearches
from orchestrator.tracking.server import check_tracking, tracking_uri
from workers.pool import actor_pool

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
        trials: The sampled trials, greedy not among them.
        out: The run directory.
        searches: The beam searches that go with a trial, by its name.
        command: "run" or "sweep".
        objectives: What the trials of a sweep are compared by.
        trial_limit: Number of trials in the end where a searcher chooses them while it runs; None where all are known.
    """

    name: str
    plan: Plan
    trials: tuple[Trial, ...]
    out: Path
    searches: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    command: str = "run"
    objectives: tuple[Objective, ...] = ()
    trial_limit: int | None = None

    @property
    def open_ended(self) -> bool:
        """Whether further trials are chosen while it runs."""
        return self.trial_limit is not None

    @property
    def unplanned(self) -> int:
        """Number of trials that are still to be chosen."""
        return 0 if self.trial_limit is None else max(0, self.trial_limit - len(self.trials))

    def sampled_trials(self) -> tuple[Trial, ...]:
        """Greedy first, unless it is what was asked for, then the sampled trials."""
        greedy = self.plan.greedy()
        others = [trial for trial in self.trials if trial.store.spec != greedy.store.spec]
        return (greedy, *others)

    def all_trials(self) -> tuple[Trial, ...]:
        """The sampled trials, each followed by its beam searches."""
        return tuple(one for trial in self.sampled_trials() for one in (trial, *self.searches_of(trial)))

    def with_searches(self) -> list[tuple[Trial, tuple[Trial, ...]]]:
        """The sampled trials, each beside its beam searches."""
        return [(trial, self.searches_of(trial)) for trial in self.sampled_trials()]

    def searches_of(self, trial: Trial) -> tuple[Trial, ...]:
        """Return the beam searches that go with a trial."""
        return self.searches.get(trial.name, ())

    def missing(self) -> int:
        """Return how many trajectories the store lacks; a scheduler may leave some out for good."""
        return sum(self.missing_of(trial) for trial in self.all_trials())

    def missing_of(self, trial: Trial) -> int:
        """Return how many trajectories the store lacks of a trial or of a beam search."""
        return sum(shard.rows for shard in self.plan.missing(trial))

    def reread(self, trials: Iterable[Trial]) -> int:
        """Take what the store holds of trials under other readings; returns the number of trajectories.

        Raises:
            UserError: If the store cannot be written.
        """
        extract = self.plan.checkpoint.format.extract_answer
        return sum(reread(trial, self.plan.problems, extract) for trial in trials)


class Session:
    """A running experiment: what a sampling function needs, and what it has come to.

    Attributes:
        experiment: The experiment; it grows by `add`.
        sampling: The pipeline.
        board: Where progress goes.
        tracker: Its open MLflow runs.
        meter: Knows how busy the actors are.
        resumed: Whether an earlier command has worked on the same experiment in the same run directory.
        missing: Trajectories that the store lacked when their trials became known.
        row_invariance: By pool, how its actors keep rows apart to the bit; None before they have been asked.
    """

    def __init__(
        self,
        experiment: Experiment,
        sampling: Sampling,
        board: ActorHandle[Any],
        tracker: "Tracker",
        meter: ActorMeter,
        resumed: bool,
        missing: int,
    ) -> None:
        """Begin with the trials that are known, and with what the store lacked of them."""
        self.experiment = experiment
        self.sampling, self.board, self.tracker, self.meter = sampling, board, tracker, meter
        self.resumed = resumed
        self.missing = missing
        self.row_invariance: dict[str, list[dict[str, Any]]] | None = None

    def sample(self, trial: Trial) -> None:
        """Sample a trial and carry out its searches in this process, reporting to the board."""
        for one in (trial, *self.experiment.searches_of(trial)):
            self.sampling.run(one, one.samples, self.board)

    def add(self, trial: Trial, searches: tuple[Trial, ...]) -> None:
        """Take a trial in that has been chosen while the experiment runs; one of a known name changes nothing."""
        from orchestrator.experiment.finalize import track_trial

        before = self.experiment
        if any(trial.name == known.name for known in before.trials):
            return
        self.experiment = replace(
            before, trials=(*before.trials, trial), searches={**before.searches, trial.name: searches}
        )
        before.reread((trial, *searches))
        for one in (trial, *searches):
            self.missing += before.missing_of(one)
            one.store.prepare()
        write_run_directory(self.experiment)
        track_trial(self.tracker, self.experiment.plan, trial)


SampleTrials = Callable[[Session, Sequence[Trial]], None]


def carry_out(experiment: Experiment, sample: SampleTrials, console: Console) -> None:
    """Sample what is missing, then report and track.

    Raises:
        UserError: If the run directory, the store or the cluster cannot be used.
    """
    started = time.monotonic()
    plan, out = experiment.plan, experiment.out
    check_run_file(out)
    check_tracking(tracking_uri(plan.config.tracking, out))
    resumed = belongs_to(experiment)
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_config(plan.config, out / "config.yaml")
        write_run_directory(experiment)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    row_invariance: dict[str, list[dict[str, Any]]] | None = None
    to_do = show_plan(experiment, console, with_cost=False)
    if read_anew := experiment.reread(experiment.all_trials()):
        console.print(f"read anew: {read_anew:,} trajectories", highlight=False)
    missing = experiment.missing()
    if to_do == 0:
        console.print("everything is in the store: nothing to sample or to score")
        tracker = _start_tracking(experiment, console)
    else:
        for trial in experiment.all_trials():
            trial.store.prepare()
        session = _sample_missing(experiment, sample, to_do, missing, resumed, console)
        experiment, tracker, missing = session.experiment, session.tracker, session.missing
        row_invariance = session.row_invariance
    from orchestrator.experiment.finalize import conclude

    try:
        conclude(experiment, tracker, missing, time.monotonic() - started, console, row_invariance)
    except BaseException:
        tracker.end("FAILED")
        tracker.close(_LAST_WORDS_SECONDS)
        raise


def belongs_to(experiment: Experiment) -> bool:
    """Whether the run directory holds what an earlier command has done of the same experiment."""
    return _record(experiment) is not None


def recorded_trials(experiment: Experiment) -> list[WithSearches]:
    """Return the trials, greedy not among them, that an earlier command has chosen for the same experiment."""
    record = _record(experiment)
    return [one for one in record.trials if one[0].name != GREEDY] if record else []


def _record(experiment: Experiment) -> RunRecord | None:
    record = read_run_file(experiment.out, experiment.plan.config.store.path)
    return record if record is not None and record.identity == identity(experiment) else None


def write_run_directory(experiment: Experiment) -> None:
    """Write down which trials the run directory is about."""
    questions = len(experiment.plan.problems)
    write_run_file(experiment.out, experiment.command, identity(experiment), questions, experiment.with_searches())


def _sample_missing(
    experiment: Experiment, sample: SampleTrials, to_do: int, missing: int, resumed: bool, console: Console
) -> Session:
    plan = experiment.plan
    greedy, *others = experiment.sampled_trials()
    tracker: Tracker | None = None
    try:
        connect(plan.config.cluster, cpus_needed(plan.config), console)
        check_resources(plan.config)
        with reasoner_pool(plan) as reasoners, scorer_pool(plan) as scorers:
            board = create_board()
            per_shard = plan.config.store.samples_per_shard
            sampling = Sampling(plan.problems, reasoners, plan.config.micro_batch, per_shard, scorers)
            objective = experiment.objectives[0] if experiment.objectives else None
            with (
                ActorMeter({"reasoners": reasoners, "scorers": scorers}) as meter,
                ProgressDisplay(board, to_do, console, meter, objective),
            ):
                # Greedy comes first: its trajectories are on the way while the tracking database is being opened.
                sampling.run(greedy, greedy.samples, board)
                tracker = _start_tracking(experiment, console)
                session = Session(experiment, sampling, board, tracker, meter, resumed, missing)
                sample(session, others)
                pools = {"reasoners": reasoners, "scorers": scorers}
                session.row_invariance = {
                    name: actor_pool(tuple(names)).row_invariance() for name, names in pools.items() if names
                }
    except BaseException as error:
        if tracker is not None:
            tracker.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            tracker.close(_LAST_WORDS_SECONDS)
        raise
    finally:
        ray.shutdown()
    return session


def _start_tracking(experiment: Experiment, console: Console) -> "Tracker":
    # Drawing and tracking import a lot: time in which trajectories can be on their way.
    from orchestrator.experiment.finalize import start_tracking

    return start_tracking(experiment, console)
