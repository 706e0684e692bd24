"""Experiments that `run` and `sweep` plan: a checked configuration, and refusals of what could not be carried out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.config.objective import Objective
from orchestrator.config.run import RunConfig
from orchestrator.config.space import corners, expand_space, trial_name
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.plan import make_plan
from orchestrator.experiment.run_directory import TUNE_FOLDER
from orchestrator.store.trial import Trial


def plan_run(name: str, config: RunConfig, out: Path, imported: Callable[[], None] = lambda: None) -> Experiment:
    """Check a configuration; starts nothing. What `imported` is, `make_plan` says.

    Raises:
        UserError: If it cannot be run.
    """
    plan = make_plan(config, imported=imported)
    return Experiment(name, plan, (plan.trial(trial_name(config), config.sampler),), out)


def plan_sweep(name: str, config: RunConfig, out: Path, imported: Callable[[], None] = lambda: None) -> Experiment:
    """Check a configuration and every trial of its space; starts nothing. What `imported` is, `make_plan` says.

    Raises:
        UserError: If any trial cannot be run, or Ray Tune has no place for its state.
    """
    if (out / TUNE_FOLDER).exists() and not (out / TUNE_FOLDER).is_dir():
        raise UserError(
            f"--out {out}: {TUNE_FOLDER} is a file there, and Ray Tune needs a directory of that name; move the file "
            "away, or choose another --out"
        )
    searched = config.sweep.search_alg == "optuna"
    if searched:
        _check_optuna()
    configs = corners(config) if searched else expand_space(config)
    plan = make_plan(config, list(configs.values()), imported)
    trials = [plan.trial(trial_name, own.sampler, own) for trial_name, own in configs.items()]
    most = max(trial.samples for trial in trials)
    if config.sweep.scheduler != "none" and config.sweep.grace_samples > most:
        raise UserError(f"sweep.grace_samples: {config.sweep.grace_samples} is more than the largest budget, {most}")
    _check_objectives(config, trials)
    experiment = Experiment(name, plan, (), out, command="sweep", objectives=config.sweep.objectives)
    if searched:
        experiment = replace(experiment, trial_limit=config.sweep.trials)
        # What an earlier command was told to try belongs to the sweep, whatever is tried next.
        trials = experiment.recorded_trials() or []
    return replace(experiment, trials=tuple(trials))


def _check_optuna() -> None:
    """Refuse to search with Optuna where it is not installed.

    Raises:
        UserError: The message says how to install it.
    """
    try:
        import optuna  # noqa: F401 - only to see whether it is there
    except ImportError:
        raise UserError(
            "sweep.search_alg: optuna is not installed; `pip install 'latentswarm[optuna]'`, or set search_alg=grid"
        ) from None


def _check_objectives(config: RunConfig, trials: Sequence[Trial]) -> None:
    """Refuse an objective that some trial will not report, which would end the sweep in the middle.

    Raises:
        UserError: The message names the objective, the trial, and what to change.
    """
    for objective in config.sweep.objectives:
        for trial in trials:
            if objective.searched:
                _check_search(objective, trial)
            else:
                _check_budget(objective, trial, trial.budgets)
                _check_scores(objective, trial, config)


def _check_search(objective: Objective, trial: Trial) -> None:
    if not trial.searches:
        raise UserError(
            f"sweep.objective: {objective.text} needs a beam search, which the trial {trial.name!r} will not have; "
            "set search.kind=beam and scorer.checkpoint, and leave deterministic samplers out"
        )
    _check_budget(objective, trial, [search.budgets[0] for search in trial.searches])


def _check_budget(objective: Objective, trial: Trial, budgets: Sequence[int]) -> None:
    if objective.budget is not None and objective.budget not in budgets:
        known = ", ".join(map(str, sorted(set(budgets))))
        raise UserError(
            f"sweep.objective: {objective.text} is never computed: the trial {trial.name!r} has no budget "
            f"{objective.budget}, only {known}"
        )


def _check_scores(objective: Objective, trial: Trial, config: RunConfig) -> None:
    scorer = AGGREGATIONS[objective.aggregation].scorer if objective.aggregation else None
    if scorer is None:
        return
    if trial.scored is None:
        raise UserError(
            f"sweep.objective: {objective.text} needs scores, which the trial {trial.name!r} will not have; set "
            "scorer.checkpoint, leave deterministic samplers out, or compare by coverage or majority_vote"
        )
    if scorer == "answer" and not trial.scored.store.spec.score_answer:
        raise UserError(
            f"sweep.objective: {objective.text} needs scores of written answers, which {config.scorer.checkpoint} does "
            "not give here; compare by best_of_n or weighted_vote"
        )
