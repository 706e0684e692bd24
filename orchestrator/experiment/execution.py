"""Execution of an experiment: sample what is missing, then report and track. What run and sweep have in common."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from latent_core.errors import UserError
from orchestrator.config.loading import save_config
from orchestrator.console import say
from orchestrator.experiment.actor_facts import NO_FACTS, ActorFacts
from orchestrator.experiment.dry_run import show_plan
from orchestrator.experiment.experiment import Experiment, missing
from orchestrator.experiment.lease import Lease
from orchestrator.experiment.run_directory import check_run_file
from orchestrator.experiment.tracking_end import end_tracking
from orchestrator.store.places import check_writable
from orchestrator.store.trial import Trial
from orchestrator.tracking.server import check_tracking, tracking_uri

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from orchestrator.pipeline.rollouts import Sampling
    from orchestrator.progress.utilization import ActorMeter
    from orchestrator.tracking.tracker import Tracker


class ExperimentRun:
    """A running experiment: what a sampling function needs, and what it has come to.

    Attributes:
        experiment: The experiment; it grows by `add`.
        sampling: The pipeline.
        board: Where progress goes.
        tracker: Its open MLflow runs.
        meter: Knows how busy the actors are.
        resumed: Whether an earlier command has worked on the same experiment in the same run directory.
        missing: Trajectories that the store lacked when their trials became known.
        facts: What its actors say of the work; nothing before they have been asked.
    """

    def __init__(
        self,
        experiment: Experiment,
        sampling: "Sampling",
        board: "ActorHandle[Any]",
        tracker: "Tracker",
        meter: "ActorMeter",
        resumed: bool,
        missing: int,
    ) -> None:
        """Begin with the trials that are known, and with what the store lacked of them."""
        self.experiment = experiment
        self.sampling, self.board, self.tracker, self.meter = sampling, board, tracker, meter
        self.resumed = resumed
        self.missing = missing
        self.facts = NO_FACTS

    def sample(self, trial: Trial) -> None:
        """Sample a trial and carry out its searches in this process, reporting to the board."""
        for one in trial.with_searches:
            self.sampling.run(one, one.samples, self.board)

    def add(self, trial: Trial) -> None:
        """Take a trial in that has been chosen while the experiment runs; one of a known name changes nothing."""
        from orchestrator.experiment.finalize import track_trial

        before = self.experiment
        if any(trial.name == known.name for known in before.trials):
            return
        self.experiment = replace(before, trials=(*before.trials, trial))
        added = trial.with_searches
        self.missing += missing(before.reread(added, before.coverage(added)))
        for one in added:
            one.store.prepare()
        self.experiment.record()
        track_trial(self.tracker, self.experiment.plan, trial)


SampleTrials = Callable[[ExperimentRun, Sequence[Trial]], None]


def carry_out(experiment: Experiment, sample: SampleTrials, console: Console) -> None:
    """Sample what is missing, then report and track.

    What the store holds is looked up once before the sampling, and once more after it if anything was sampled.

    Raises:
        UserError: If the run directory, the store or the cluster cannot be used.
    """
    started = time.monotonic()
    out = experiment.out
    check_run_file(out)
    check_tracking(tracking_uri(experiment.plan.config.tracking, out))
    with Lease(out, experiment.command) as lease:
        _carry_out(experiment, sample, console, lease, started)


def _carry_out(experiment: Experiment, sample: SampleTrials, console: Console, lease: Lease, started: float) -> None:
    plan, out = experiment.plan, experiment.out
    resumed = experiment.is_resumed()
    try:
        save_config(plan.config, out / "config.yaml")
        experiment.record()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    found = experiment.coverage()
    if mended := experiment.mend(found):
        for line in mended:
            say(console, line)
        found = experiment.coverage()
    to_do = show_plan(experiment, found, console, with_cost=False)
    coverage = experiment.reread(experiment.all_trials(), found)
    lacked = missing(coverage)
    if read_anew := missing(found) - lacked:
        console.print(f"read anew: {read_anew:,} trajectories", highlight=False)
    facts = NO_FACTS
    if to_do == 0:
        console.print("everything is in the store: nothing to sample or to score")
        tracker = _start_tracking(experiment, console)
    else:
        check_writable(plan.config.store.path)
        for trial in experiment.all_trials():
            trial.store.prepare()
        run = _sample_missing(experiment, sample, to_do, lacked, resumed, console)
        experiment, tracker, lacked = run.experiment, run.tracker, run.missing
        facts = run.facts
        coverage = experiment.coverage()
    from orchestrator.experiment.finalize import finalize

    try:
        lease.renew()
        seconds = time.monotonic() - started
        finalize(experiment, coverage, tracker, lacked - missing(coverage), seconds, console, facts)
    except BaseException as error:
        end_tracking(tracker, error)
        raise


def _sample_missing(
    experiment: Experiment, sample: SampleTrials, to_do: int, lacked: int, resumed: bool, console: Console
) -> ExperimentRun:
    # A command that finds everything in the store need not wait for Ray to be imported.
    from orchestrator.pipeline.cluster import (
        check_resources,
        connect,
        cpus_needed,
        disconnect,
        reasoner_pool,
        scorer_pool,
    )
    from orchestrator.pipeline.rollouts import Sampling
    from orchestrator.progress.board import create_board
    from orchestrator.progress.display import ProgressDisplay
    from orchestrator.progress.utilization import ActorMeter

    plan = experiment.plan
    greedy, *others = experiment.sampled_trials()
    tracker: Tracker | None = None
    try:
        connect(plan.config.cluster, cpus_needed(plan.config), console)
        check_resources(plan.config)
        reward = plan.scorer.reward.fingerprint if plan.scorer else None
        with (
            reasoner_pool(plan.config, plan.checkpoint.fingerprint) as reasoners,
            scorer_pool(plan.config, reward) as scorers,
        ):
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
                run = ExperimentRun(experiment, sampling, board, tracker, meter, resumed, lacked)
                sample(run, others)
                waves = any(trial.budget is not None for trial in run.experiment.all_trials())
                run.facts = ActorFacts.of(reasoners, scorers, waves=waves)
    except BaseException as error:
        if tracker is not None:
            end_tracking(tracker, error)
        raise
    finally:
        disconnect()
    return run


def _start_tracking(experiment: Experiment, console: Console) -> "Tracker":
    # Drawing and tracking import a lot: time in which trajectories can be on their way.
    from orchestrator.experiment.finalize import start_tracking

    return start_tracking(experiment, console)
