"""Trials of a sweep, run by Ray Tune."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.config.space import corners, expand_space, trial_of
from orchestrator.experiment.execution import ExperimentRun
from orchestrator.experiment.run_directory import TUNE_FOLDER
from orchestrator.store.trial import Trial
from orchestrator.tuning.callback import ReportCallback
from orchestrator.tuning.concurrency import ConcurrencyLimiter
from orchestrator.tuning.environment import trim_environment
from orchestrator.tuning.failures import sweep_failure
from orchestrator.tuning.optuna_source import OptunaTrials
from orchestrator.tuning.scheduler import History, make_scheduler
from orchestrator.tuning.searcher import TrialSearcher
from orchestrator.tuning.state import can_resume, trial_states
from orchestrator.tuning.trainable import run_trial
from orchestrator.tuning.trial_source import ListedTrials, TrialSource

_MAX_TRIAL_FAILURES = 3
_TRIAL_CPUS = 0.01
"""A trial only waits for the shared actors; Tune refuses 0."""


def run_trials(run: ExperimentRun, trials: Sequence[Trial]) -> None:
    """Have Ray Tune run trials, and those that a searcher chooses meanwhile.

    Raises:
        UserError: If trials have failed again and again for what is the user's to mend.
        OSError: If they have, and the run directory cannot be written.
        RuntimeError: If they have for another reason.
    """
    experiment = run.experiment
    config = experiment.plan.config
    # Tune would answer an interrupt by returning as if it had finished; the caller has to know.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # The display of this project shows progress; Tune's own would print over it.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # It would print a page for every trial that dies with its node and is run again; what fails for good is raised.
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    # Nor a page for every copy of its own state that a full disk does not take: what cannot be written besides says so.
    for name in ("ray.train._internal.syncer", "ray.tune.execution.experiment_state"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    trim_environment()
    objective = experiment.objectives[0]
    trainable = tune.with_parameters(
        run_trial,
        # Absolute: a trial has a working directory of its own.
        store=experiment.plan.greedy().store.root,
        sampling=run.sampling,
        board=run.board,
        objectives=experiment.objectives,
        report_early=config.sweep.scheduler != "none",
    )
    configs = corners(config) if experiment.open_ended else expand_space(config)
    most = max(own.samples for own in configs.values())
    limiter = ConcurrencyLimiter(run.meter.state, config.actors)
    fixed = config.sweep.max_concurrent_trials
    # `tune.run` and not `Tuner`: a restored `Tuner` would bring back the callbacks, searchers and schedulers of the
    # process that was killed, where these belong to this one.
    finished = tune.run(
        tune.with_resources(trainable, {"cpu": _TRIAL_CPUS}),
        name=TUNE_FOLDER,
        storage_path=str(experiment.out.absolute()),
        num_samples=experiment.trial_limit or len(trials),
        search_alg=TrialSearcher(_source(run, trials), limiter.limit if fixed is None else lambda: fixed),
        scheduler=make_scheduler(config.sweep, most, _history(run, f"live/objective.{objective.key}")),
        callbacks=[ReportCallback(run.tracker, run.board, objective.key)],
        resume_config=_resume_config(run),
        verbose=0,
        # A trial whose process or node dies begins again, and finds what it has sampled.
        max_failures=_MAX_TRIAL_FAILURES,
        raise_on_failed_trial=False,
        reuse_actors=True,
        trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
    )
    failed = [trial for trial in finished.trials if trial.status == TuneTrial.ERROR]
    if failed:
        raise sweep_failure(failed, len(finished.trials), experiment.out / TUNE_FOLDER)
    # A command that was killed while Tune wrote its state down may have left a searcher that knows of a trial, and a
    # list of trials that does not: nobody would run it.
    known = {trial.config["setting"] for trial in finished.trials}
    for trial in run.experiment.trials:
        if trial.name not in known:
            run.sample(trial)


def _source(run: ExperimentRun, trials: Sequence[Trial]) -> TrialSource:
    experiment = run.experiment
    config = experiment.plan.config
    if not experiment.open_ended:
        return ListedTrials(trials)

    def plan(number: int, choice: Mapping[str, Any]) -> Trial:
        name, own = trial_of(config, number, choice)
        trial = experiment.plan.trial(name, own.sampler, own)
        run.add(trial)
        return trial

    return OptunaTrials(config.sweep.space, experiment.objectives, config.seed, plan)


def _history(run: ExperimentRun, metric: str) -> History:
    def history(trial: str) -> Iterable[tuple[int, float]]:
        return run.tracker.history(trial, metric)

    return history


def _resume_config(run: ExperimentRun) -> tune.ResumeConfig | None:
    """Return how Tune goes on with what it has written down, or None where it has to begin anew.

    A trial that has ended is not repeated, so that what it is said to have sampled must still be there.
    """
    experiment = run.experiment
    folder = experiment.out / TUNE_FOLDER
    if not run.resumed or not can_resume(folder):
        return None
    known = {trial.name: trial for trial in experiment.trials}
    for name, state in trial_states(folder).items():
        if name not in known or (state == "terminated" and not _is_still_there(run, known[name])):
            return None
    # Declared as text, compared with members of an enumeration.
    again: Any = tune.ResumeConfig.ResumeType.RESUME
    leave: Any = tune.ResumeConfig.ResumeType.SKIP
    return tune.ResumeConfig(finished=leave, unfinished=again, errored=again)


def _is_still_there(run: ExperimentRun, trial: Trial) -> bool:
    """Whether the store has what a trial has reported on, and at its largest budget its searches."""
    experiment = run.experiment
    reached = max(1, run.tracker.last_step(trial.name, "live/coverage"))
    questions = len(experiment.plan.problems)
    coverage = trial.coverage(questions)
    if trial.budget is not None:
        return not coverage.lacking.any()
    if coverage.ready_samples < reached:
        return False
    return reached < trial.samples or not any(search.coverage(questions).missing for search in trial.searches)
