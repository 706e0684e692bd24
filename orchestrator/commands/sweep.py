"""`latentswarm sweep`: many trials that share the same actors, planned here and carried out by Ray Tune."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_core.errors import UserError
from orchestrator.commands.objective_check import check_objectives
from orchestrator.config.run import RunConfig
from orchestrator.config.space import corners, expand_space
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.plan import make_plan
from orchestrator.store.trial import Trial
from orchestrator.tuning.optuna_source import check_optuna

if TYPE_CHECKING:
    from orchestrator.experiment.execution import ExperimentRun


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
    trials = [plan.trial(trial_name, own.sampler, own) for trial_name, own in configs.items()]
    most = max(trial.samples for trial in trials)
    if config.sweep.scheduler != "none" and config.sweep.grace_samples > most:
        raise UserError(f"sweep.grace_samples: {config.sweep.grace_samples} is more than the largest budget, {most}")
    check_objectives(config, trials)
    experiment = Experiment(name, plan, (), out, command="sweep", objectives=config.sweep.objectives)
    if searched:
        experiment = replace(experiment, trial_limit=config.sweep.trials)
        # What an earlier command was told to try belongs to the sweep, whatever is tried next.
        trials = experiment.recorded_trials() or []
    return replace(experiment, trials=tuple(trials))


def sample_with_tune(run: "ExperimentRun", trials: Sequence[Trial]) -> None:
    """Sample trials as Tune trials, and those that a searcher chooses meanwhile.

    Raises:
        RuntimeError: If a trial has failed again and again.
    """
    # A space of nothing but greedy decoding leaves no trial: that one is sampled for every sweep.
    if trials or run.experiment.unplanned:
        # A plan, and a sweep that finds everything in the store, need not wait for Ray Tune to be imported.
        from orchestrator.commands.sweep_trials import run_trials

        run_trials(run, trials)
