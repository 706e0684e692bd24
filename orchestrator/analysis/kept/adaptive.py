"""Kept replays of stopping rules: every rule sees thousands of orders of the samples of each trial."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import latent_core.budgets
from latent_core.budgets import GainTables
from latent_core.selection import aggregations, estimators, intervals
from latent_core.tasks.base import Task
from orchestrator.analysis import adaptive, curves, cut_answers, outcomes
from orchestrator.analysis.adaptive import AdaptiveRow, AskedRule, adaptive_rows
from orchestrator.analysis.curves import question_costs
from orchestrator.analysis.evaluation import CURVE_COLUMNS, TrialResult, blocks, without_empty_scores
from orchestrator.analysis.kept.results import KeptResults, content_of, source_of
from orchestrator.analysis.online_rows import online_rows
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.names import GREEDY
from orchestrator.store import counting

_KIND: Final = "stopping rules"


def evaluate_adaptive(
    results: Sequence[TrialResult],
    task: Task,
    asked: Sequence[AskedRule] | None = None,
    gains: GainTables | None = None,
    kept: KeptResults | None = None,
) -> list[AdaptiveRow]:
    """Replay stopping rules on the samples of all sampled trials among results; then what rules came to online.

    Args:
        results: What the trials came to.
        task: The questions that were asked.
        asked: The rules; None for all that can be replayed.
        gains: What was fitted for the LatentRM of these trials.
        kept: What has been computed before. It is not saved here.

    Raises:
        UserError: If a rule that was asked for needs what is not there.
    """
    rows = []
    for result in results:
        # Of a trial with a rule of its own there are no samples that every question has, but for the first wave's.
        if result.trial.name == GREEDY or result.trial.budget is not None:
            continue
        if kept is None:
            rows += _replayed(result, task, asked, gains)
            continue
        trial = result.trial
        content = content_of(
            [trial],
            trial.folders,
            task.problems,
            source_of(
                latent_core.budgets,
                aggregations,
                estimators,
                intervals,
                adaptive,
                curves,
                cut_answers,
                outcomes,
                counting,
            ),
            str(result.summary["samples"]),
            repr(asked),
            "" if gains is None else gains.model_dump_json(),
            repr(None if trial.scored is None else (trial.scored.calibration, trial.scored.answer_calibration)),
        )
        found = kept.find(_KIND, trial.name, content)
        if found is None:
            made = [asdict(row) for row in _replayed(result, task, asked, gains)]
            found = kept.note(_KIND, trial.name, content, made)
        rows += [AdaptiveRow(**row) for row in found]
    return rows + online_rows(results, task)


def _replayed(
    result: TrialResult, task: Task, asked: Sequence[AskedRule] | None, gains: GainTables | None
) -> list[AdaptiveRow]:
    read = list(blocks(result.trial, task.problems, result.summary["samples"], CURVE_COLUMNS))
    joined = join_outcomes([outcomes_of(result.trial, records, some) for records, some in read])
    costs = question_costs([records for records, _ in read])
    return adaptive_rows(result.trial.name, without_empty_scores(joined), costs, asked, gains)
