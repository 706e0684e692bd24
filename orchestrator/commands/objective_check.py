"""Objectives that would never be computed are refused before a sweep starts."""

from collections.abc import Sequence

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.config.objective import Objective
from orchestrator.config.run import RunConfig
from orchestrator.store.trial import Trial


def check_objectives(config: RunConfig, trials: Sequence[Trial]) -> None:
    """Refuse an objective that some trial will not report, which would end the sweep in the middle.

    Args:
        config: The sweep's configuration.
        trials: Its trials.

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
