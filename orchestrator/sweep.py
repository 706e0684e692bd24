"""`latentswarm sweep`: Ray Tune over many sampler settings that share the same actors."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.config import RunConfig, SweepConfig
from orchestrator.experiment import Experiment, SampleSettings, Session
from orchestrator.plan import make_plan
from orchestrator.setting import Setting
from orchestrator.space import expand_space
from orchestrator.tracking.tracker import Tracker
from orchestrator.trial import run_trial

_MAX_TRIAL_FAILURES = 3
_TRIAL_CPUS = 0.01
"""A trial only waits for the shared actors; Tune refuses 0."""


def plan_sweep(name: str, config: RunConfig, out: Path) -> Experiment:
    """Check a configuration and every trial of its space; starts nothing.

    Raises:
        UserError: If any trial cannot be run.
    """
    trials = expand_space(config)
    plan = make_plan(config, list(trials.values()))
    settings = tuple(plan.setting(trial_name, trial.sampler, trial) for trial_name, trial in trials.items())
    searches = {
        setting.name: plan.searches(setting, trial.sampler, trial)
        for setting, trial in zip(settings, trials.values(), strict=True)
    }
    most = max(setting.samples for setting in settings)
    if config.sweep.scheduler != "none" and config.sweep.grace_samples > most:
        raise UserError(f"sweep.grace_samples: {config.sweep.grace_samples} is more than the largest budget, {most}")
    _check_metric(config, settings)
    return Experiment(name, plan, settings, out, searches, command="sweep")


def _check_metric(config: RunConfig, settings: Sequence[Setting]) -> None:
    """Refuse a metric that some trial will not report, which would end the sweep in the middle."""
    metric = config.sweep.metric
    scorer = AGGREGATIONS[metric].scorer
    for setting in settings if scorer is not None else ():
        if setting.scored is None:
            raise UserError(
                f"sweep.metric: {metric} needs scores, which the trial {setting.name!r} will not have; set "
                "scorer.checkpoint, leave deterministic samplers out, or compare by coverage or majority_vote"
            )
        if scorer == "answer" and not setting.scored.store.spec.score_answer:
            raise UserError(
                f"sweep.metric: {metric} needs scores of written answers, which {config.scorer.checkpoint} does not "
                "give here; compare by best_of_n or weighted_vote"
            )


def tune_sampler(config: SweepConfig, out: Path) -> SampleSettings:
    """Return the function that samples settings as Tune trials."""

    def sample(session: Session, settings: Sequence[Setting]) -> None:
        # A space of nothing but greedy decoding leaves no trial: that one is sampled for every sweep.
        if settings:
            _fit(session, settings, config, out)

    return sample


def _fit(session: Session, settings: Sequence[Setting], config: SweepConfig, out: Path) -> None:
    # Tune would answer an interrupt by returning as if it had finished; the caller has to know.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # The display of this project shows progress; Tune's own would print over it.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    trainable = tune.with_parameters(
        run_trial,
        settings={setting.name: setting for setting in settings},
        searches=dict(session.searches),
        sampling=session.sampling,
        board=session.board,
        report_early=config.scheduler != "none",
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": _TRIAL_CPUS}),
        param_space={"setting": tune.grid_search([setting.name for setting in settings])},
        tune_config=tune.TuneConfig(
            metric=config.metric,
            mode="max",
            scheduler=_scheduler(config, settings),
            max_concurrent_trials=config.max_concurrent_trials,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(out.absolute()),
            verbose=0,
            # A trial whose process or node dies begins again, and finds what it has sampled.
            failure_config=tune.FailureConfig(max_failures=_MAX_TRIAL_FAILURES),
            callbacks=[MlflowCallback(session.tracker)],
        ),
    )
    errors = tuner.fit().errors
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(settings)} trials failed; the first error follows") from errors[0]


def _scheduler(config: SweepConfig, settings: Sequence[Setting]) -> TrialScheduler:
    if config.scheduler == "none":
        return FIFOScheduler()
    most = max(setting.samples for setting in settings)
    return ASHAScheduler(
        time_attr="n",
        grace_period=config.grace_samples,
        max_t=most,
        reduction_factor=config.reduction_factor,
        brackets=config.brackets,
    )


class MlflowCallback(LoggerCallback):
    """Passes what trials report on to MLflow, from the driver."""

    def __init__(self, tracker: Tracker) -> None:
        """Write through the tracker of the sweep, whose child runs are open already."""
        self._tracker = tracker

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune saves its callbacks, and the tracker belongs to this process."""
        return {}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log one report under `live/` with step = n."""
        metrics = {name: float(value) for name, value in result["curves"].items()}
        self._tracker.log_live(trial.config["setting"], result["n"], metrics)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Close the run of a trial that failed; the others are closed with their final curves."""
        if failed:
            self._tracker.end("FAILED", child=trial.config["setting"])
