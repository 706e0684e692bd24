"""`latentswarm sweep`: Ray Tune over many trials that share the same actors."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from latent_core.errors import UserError
from orchestrator.analysis.evaluation import sampled_so_far
from orchestrator.commands.objective_check import check_objectives
from orchestrator.config.run import RunConfig
from orchestrator.config.space import corners, expand_space, trial_of
from orchestrator.experiment.experiment import Experiment, Session, recorded_trials
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.pipeline.dispatch import user_error
from orchestrator.store.trial import Trial, WithSearches
from orchestrator.tuning.callback import ReportCallback
from orchestrator.tuning.concurrency import Capacity
from orchestrator.tuning.optuna_source import OptunaTrials, check_optuna
from orchestrator.tuning.scheduler import History, make_scheduler
from orchestrator.tuning.searcher import TrialSearcher
from orchestrator.tuning.state import can_resume, trial_states
from orchestrator.tuning.trainable import run_trial
from orchestrator.tuning.trial_source import ListedTrials, TrialSource

_TUNE_FOLDER = "tune"
_MAX_TRIAL_FAILURES = 3
_TRIAL_CPUS = 0.01
"""A trial only waits for the shared actors; Tune refuses 0."""


def plan_sweep(name: str, config: RunConfig, out: Path) -> Experiment:
    """Check a configuration and every trial of its space; starts nothing.

    Raises:
        UserError: If any trial cannot be run.
    """
    searched = config.sweep.search_alg == "optuna"
    if searched:
        check_optuna()
    configs = corners(config) if searched else expand_space(config)
    plan = make_plan(config, list(configs.values()))
    planned = [_planned(plan, trial_name, own) for trial_name, own in configs.items()]
    most = max(trial.samples for trial, _ in planned)
    if config.sweep.scheduler != "none" and config.sweep.grace_samples > most:
        raise UserError(f"sweep.grace_samples: {config.sweep.grace_samples} is more than the largest budget, {most}")
    check_objectives(config, planned)
    experiment = Experiment(name, plan, (), out, command="sweep", objectives=config.sweep.objectives)
    if searched:
        experiment = replace(experiment, trial_limit=config.sweep.trials)
        # What an earlier command was told to try belongs to the sweep, whatever is tried next.
        planned = recorded_trials(experiment)
    return replace(
        experiment,
        trials=tuple(trial for trial, _ in planned),
        searches={trial.name: searches for trial, searches in planned},
    )


def _planned(plan: Plan, name: str, config: RunConfig) -> WithSearches:
    trial = plan.trial(name, config.sampler, config)
    return trial, plan.searches(trial, config.sampler, config)


def sample_with_tune(session: Session, trials: Sequence[Trial]) -> None:
    """Sample trials as Tune trials, and those that a searcher chooses meanwhile.

    Raises:
        RuntimeError: If a trial has failed again and again.
    """
    # A space of nothing but greedy decoding leaves no trial: that one is sampled for every sweep.
    if trials or session.experiment.unplanned:
        _fit(session, trials)


def _fit(session: Session, trials: Sequence[Trial]) -> None:
    experiment = session.experiment
    config = experiment.plan.config
    # Tune would answer an interrupt by returning as if it had finished; the caller has to know.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # The display of this project shows progress; Tune's own would print over it.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # It would print a page for every trial that dies with its node and is run again; what fails for good is raised.
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    objective = experiment.objectives[0]
    trainable = tune.with_parameters(
        run_trial,
        # Absolute: a trial has a working directory of its own.
        store=experiment.plan.greedy().store.root,
        sampling=session.sampling,
        board=session.board,
        objectives=experiment.objectives,
        report_early=config.sweep.scheduler != "none",
    )
    configs = corners(config) if experiment.open_ended else expand_space(config)
    most = max(own.samples for own in configs.values())
    capacity = Capacity(session.meter.state, config.actors)
    fixed = config.sweep.max_concurrent_trials
    # `tune.run` and not `Tuner`: a restored `Tuner` would bring back the callbacks, searchers and schedulers of the
    # process that was killed, where these belong to this one.
    finished = tune.run(
        tune.with_resources(trainable, {"cpu": _TRIAL_CPUS}),
        name=_TUNE_FOLDER,
        storage_path=str(experiment.out.absolute()),
        num_samples=experiment.trial_limit or len(trials),
        search_alg=TrialSearcher(_source(session, trials), capacity.limit if fixed is None else lambda: fixed),
        scheduler=make_scheduler(config.sweep, most, _history(session, f"live/objective.{objective.key}")),
        callbacks=[ReportCallback(session.tracker, session.board, objective.key)],
        resume_config=_resume_config(session),
        verbose=0,
        # A trial whose process or node dies begins again, and finds what it has sampled.
        max_failures=_MAX_TRIAL_FAILURES,
        raise_on_failed_trial=False,
        reuse_actors=True,
        trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
    )
    failed = [trial for trial in finished.trials if trial.status == TuneTrial.ERROR]
    if failed:
        first = failed[0].get_error()
        raise (first and user_error(first)) or RuntimeError(
            f"{len(failed)} of {len(finished.trials)} trials failed; the first error follows"
        ) from first
    # A command that was killed while Tune wrote its state down may have left a searcher that knows of a trial, and a
    # list of trials that does not: nobody would run it.
    run = {trial.config["setting"] for trial in finished.trials}
    for trial in session.experiment.trials:
        if trial.name not in run:
            session.sample(trial)


def _source(session: Session, trials: Sequence[Trial]) -> TrialSource:
    experiment = session.experiment
    config = experiment.plan.config
    if not experiment.open_ended:
        return ListedTrials([(trial, experiment.searches_of(trial)) for trial in trials])

    def plan(number: int, choice: Mapping[str, Any]) -> WithSearches:
        planned = _planned(experiment.plan, *trial_of(config, number, choice))
        session.add(*planned)
        return planned

    return OptunaTrials(config.sweep.space, experiment.objectives, config.seed, plan)


def _history(session: Session, metric: str) -> History:
    def history(trial: str) -> Iterable[tuple[int, float]]:
        return session.tracker.history(trial, metric)

    return history


def _resume_config(session: Session) -> tune.ResumeConfig | None:
    """Return how Tune goes on with what it has written down, or None where it has to begin anew.

    A trial that has ended is not repeated, so that what it is said to have sampled must still be there.
    """
    experiment = session.experiment
    folder = experiment.out / _TUNE_FOLDER
    if not session.resumed or not can_resume(folder):
        return None
    known = {trial.name: trial for trial in experiment.trials}
    for name, state in trial_states(folder).items():
        if name not in known or (state == "terminated" and not _is_still_there(session, known[name])):
            return None
    # Declared as text, compared with members of an enumeration.
    again: Any = tune.ResumeConfig.ResumeType.RESUME
    leave: Any = tune.ResumeConfig.ResumeType.SKIP
    return tune.ResumeConfig(finished=leave, unfinished=again, errored=again)


def _is_still_there(session: Session, trial: Trial) -> bool:
    """Whether the store has what a trial has reported on, and at its largest budget its searches."""
    experiment = session.experiment
    reached = max(1, session.tracker.last_step(trial.name, "live/coverage"))
    if sampled_so_far(trial, len(experiment.plan.problems)) < reached:
        return False
    return reached < trial.samples or not any(map(experiment.missing_of, experiment.searches_of(trial)))
