"""Rows of `adaptive.csv` of trials whose rule decided online, beside the replays of rules on full trials."""

from collections.abc import Sequence

import numpy as np

from latent_core.selection.aggregations import Outcomes
from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import mean_interval, unbounded_interval
from latent_core.tasks.base import Task
from orchestrator.analysis.adaptive import ONLINE, AdaptiveRow, FixedBudgets, paired_at_mean
from orchestrator.analysis.curves import CurvePoint
from orchestrator.analysis.evaluation import CURVE_COLUMNS, TrialResult, blocks, without_empty_scores
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.names import GREEDY
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.trial import Trial


def online_rows(results: Sequence[TrialResult], task: Task) -> list[AdaptiveRow]:
    """Return what rules came to that decided while samples were drawn; a trial with open questions has no rows yet.

    They are set against as many samples for every question where another trial of the results drew the same
    trajectories without a rule; else nothing is known of that, and `fixed` and the differences are NaN.

    Args:
        results: What the trials of a run came to.
        task: The questions that were asked.
    """
    rows: list[AdaptiveRow] = []
    full: dict[str, Outcomes] = {}
    for result in results:
        budget = result.trial.budget
        points = [point for point in result.points if point.used is not None]
        if budget is None or not points:
            continue
        twin = next((other for other in results if _is_full(other, result.trial)), None)
        if twin is not None and twin.trial.name not in full:
            full[twin.trial.name] = _outcomes(twin, task)
        samples = result.questions["samples"].to_numpy(dtype=np.float64)
        for point in points:
            fixed = None
            if twin is not None:
                fixed = FixedBudgets(full[twin.trial.name], point.aggregation, budget.last, budget.first)
            rows.append(_row(point, budget, samples, fixed))
    return rows


def _is_full(other: TrialResult, trial: Trial) -> bool:
    own = other.trial
    return (
        own.budget is None
        and own.name != GREEDY
        and own.store.spec.key == trial.store.spec.key
        and (own.scored is None) == (trial.scored is None)
        and own.cut_answers == trial.cut_answers
        and trial.budget is not None
        and int(other.summary["samples"]) >= trial.budget.last
    )


def _outcomes(result: TrialResult, task: Task) -> Outcomes:
    read = blocks(result.trial, task.problems, result.summary["samples"], CURVE_COLUMNS)
    return without_empty_scores(join_outcomes([outcomes_of(result.trial, records, some) for records, some in read]))


def _row(point: CurvePoint, budget: WaveBudget, samples: FloatArray, fixed: FixedBudgets | None) -> AdaptiveRow:
    credit, waves = point.by_question, [budget.waves_to(int(n)) for n in samples]
    at_mean, compared = float("nan"), (float("nan"),) * 3
    if fixed is not None:
        values, slope = fixed.at(float(samples.mean()))
        at_mean, compared = float(values.mean()), paired_at_mean(credit, samples, values, slope)
    return AdaptiveRow(
        point.trial,
        budget.budget.rule.describe(),
        point.aggregation,
        budget.last,
        *unbounded_interval(samples),
        float(np.mean(waves)),
        *mean_interval(credit),
        at_mean,
        *compared,
        len(credit),
        float(point.flops if point.flops_once is None else point.flops_once),
        float(point.flops),
        ONLINE,
    )
