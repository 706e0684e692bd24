"""Evaluation of trials: what they report while they run, and all that reports are made of. Imports no torch.

A trial's records are read once, and every aggregation is estimated once at every budget; rows of curves, comparisons,
difficulties and objectives are made of those values, and intervals where somebody reads them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from latent_core.dynamics.thoughts import effective_number
from latent_core.failures import TRAJECTORY_FAILED, is_transient
from latent_core.selection.aggregations import Outcomes, available
from latent_core.selection.estimators import FloatArray, IntArray
from latent_core.tasks.base import Problem, Task
from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.beams import evaluate_search
from orchestrator.analysis.comparisons import Comparison, compare_all, greedy_of
from orchestrator.analysis.curves import (
    Cost,
    CurvePoint,
    CurveRow,
    cost_of,
    curve_points,
    greedy_point,
    guess_rows,
)
from orchestrator.analysis.cut_answers import judged
from orchestrator.analysis.difficulty import DifficultyRow, difficulty_rows
from orchestrator.analysis.dynamics_rows import UNKNOWN, TrialDynamics
from orchestrator.analysis.frontier import FrontierRow, SampledSetting, frontier_rows
from orchestrator.analysis.online import AdaptiveOutcomes
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.analysis.pareto import Judged, judge
from orchestrator.analysis.per_question import chosen_answers, chosen_in_groups, per_question
from orchestrator.config.objective import Objective
from orchestrator.names import GREEDY
from orchestrator.store.counting import without_confidence
from orchestrator.store.trial import Coverage, Trial

CURVE_COLUMNS = (
    *("question_id", "answer", "correct", "error", "cut", "flops", "prompt_flops", "answer_logprob", "answer_tokens"),
)
"""What curves need of a trajectory."""

_SCORE_COLUMNS = ("score", "score_prompt_flops", "score_flops")
_ANSWER_SCORE_COLUMNS = ("answer_score", "answer_score_prompt_flops", "answer_score_flops")
_COLUMNS = (*CURVE_COLUMNS, "latent_steps", "seconds")
_TOTALS = ["failed", "unparsable", "cut", "unscored", "unsure", "latent_steps", "answer_tokens", "seconds"]
_QUESTIONS_PER_READ = 256
_ROWS_PER_READ = 1 << 14
"""With few samples a question, more questions are read at a time: what every read costs by itself adds up."""
_ADDRESS = ["question_index", "sample_index"]


@dataclass(frozen=True)
class TrialResult:
    """What a trial came to.

    Attributes:
        trial: The trial.
        points: Its curves, those of its beam searches included.
        summary: Its counts for `summary.json`.
        questions: One line per question.
        effective_answers: [Q], exponential of the entropy of each question's answers; NaN where none can be read.
        correct: [Q], right ones among the samples that every question has; `questions` counts all that each got.
    """

    trial: Trial
    points: Sequence[CurvePoint]
    summary: dict[str, Any]
    questions: pd.DataFrame
    effective_answers: FloatArray
    correct: IntArray

    @cached_property
    def rows(self) -> list[CurveRow]:
        """Its curves with their intervals."""
        return [point.row() for point in self.points]

    @cached_property
    def by_question(self) -> Mapping[int, Mapping[str, FloatArray]]:
        """By budget that was sampled and by aggregation, the value of every question [Q]."""
        found: dict[int, dict[str, FloatArray]] = {}
        for point in self.points:
            if not np.isnan(point.value):
                found.setdefault(point.n, {})[point.aggregation] = point.by_question
        return found


@dataclass(frozen=True)
class Evaluation:
    """Results of an experiment. What is made of them is computed when it is first asked for, and once.

    Attributes:
        trials: What the trials came to.
        task: The questions that were asked.
        budgets: The budgets of the experiment, for the guessing baseline.
        objectives: What the trials of a sweep are compared by.
        dynamics: What the samples of each trial do step by step.
        adaptive: What stopping rules would have come to, in the order of the trials.
    """

    trials: Sequence[TrialResult]
    task: Task
    budgets: Sequence[int]
    objectives: Sequence[Objective] = ()
    dynamics: Sequence[TrialDynamics] = ()
    adaptive: Sequence[AdaptiveRow] = ()

    @cached_property
    def rows(self) -> list[CurveRow]:
        """Curves of all trials, and the guessing baseline where the task knows its answers' distribution."""
        rows = [row for result in self.trials for row in result.rows]
        if self.task.guess_chances is not None:
            rows.extend(guess_rows(self.task.guess_chances, self.budgets))
        return rows

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Aggregations against each other and against greedy decoding, and trials against each other, paired."""
        points = {result.trial.name: result.points for result in self._sampled}
        return compare_all(points, greedy_of(point for result in self.trials for point in result.points))

    @cached_property
    def difficulties(self) -> list[DifficultyRow]:
        """Means over the questions of each bin of difficulty, trial by trial, greedy decoding among the values."""
        rows = []
        for result in self._sampled:
            values = {**result.by_question, 1: {**self._greedy, **result.by_question.get(1, {})}}
            rows += difficulty_rows(values, result.correct, result.summary["samples"], trial=result.trial.name)
        return rows

    @cached_property
    def judged(self) -> list[Judged]:
        """The sampled trials by the objectives; none where there are no objectives."""
        return judge(self.rows, self.objectives) if self.objectives else []

    @cached_property
    def frontier(self) -> list[FrontierRow]:
        """Diversity against coverage of the sampled trials; none where there is nothing to compare."""
        dispersion = {one.trial: one.dispersion for one in self.dynamics}
        settings = [
            SampledSetting(
                result.trial.name,
                {**result.trial.store.spec.sampler, "latent_steps": result.trial.store.spec.latent_steps},
                result.summary["samples"],
                result.correct / result.summary["samples"],
                result.effective_answers,
                dispersion.get(result.trial.name, UNKNOWN),
            )
            for result in self._sampled
        ]
        rows = frontier_rows(settings)
        return rows if len(rows) > 1 else []

    @property
    def _greedy(self) -> Mapping[str, FloatArray]:
        return next((result.by_question[1] for result in self.trials if result.trial.name == GREEDY), {})

    @property
    def _sampled(self) -> list[TrialResult]:
        return [result for result in self.trials if result.trial.name != GREEDY]


def sampled_so_far(trial: Trial, questions: int) -> int:
    """Return how many samples of every question are ready; an interrupted or stopped trial has fewer."""
    return trial.coverage(questions).ready_samples


def blocks(
    trial: Trial,
    problems: Sequence[Problem],
    samples: int,
    columns: Sequence[str],
    *,
    first_question: int = 0,
    end_question: int | None = None,
    score_columns: Sequence[str] = (),
) -> Iterator[tuple[pd.DataFrame, Sequence[Problem]]]:
    """Read a trial's trajectories some questions at a time, so that memory does not grow with their number.

    Where a LatentRM scores the trial, the columns of its scores stand beside those of the trajectories, NaN where a
    trajectory has no score. What `judged` adds and changes is there too.

    Args:
        trial: The trial.
        problems: All questions of the task.
        samples: How many samples of every question.
        columns: Which columns of the trajectories.
        first_question: Index of the first question to read.
        end_question: Index behind the last one; by default all.
        score_columns: Columns of the scores besides those that curves need.
    """
    ids = [problem.question_id for problem in problems]
    last = len(problems) if end_question is None else end_question
    listing = trial.store.listing()
    listing_of_scores = None if trial.scored is None else trial.scored.store.listing()
    at_once = max(_QUESTIONS_PER_READ, _ROWS_PER_READ // samples)
    for first in range(first_question, last, at_once):
        end = min(first + at_once, last)
        records = trial.store.read(end, samples, columns, first, ids, listing)
        if trial.scored is not None:
            store = trial.scored.store
            # Without answer-aware scores these columns hold nothing, and must not become curves.
            wanted = (*_SCORE_COLUMNS, *(_ANSWER_SCORE_COLUMNS if store.spec.score_answer else ()))
            read = [*wanted, *score_columns]
            scores = store.read(end, samples, read, first, ids, listing_of_scores)
            # A folder without shards gives a frame without types.
            scores = scores.astype(dict.fromkeys(_ADDRESS, np.int64) | dict.fromkeys(wanted, np.float64))
            records = records.merge(scores, how="left", on=_ADDRESS)
        yield judged(records, trial), problems[first:end]


def points_so_far(trial: Trial, problems: Sequence[Problem], samples: int) -> list[CurvePoint]:
    """Evaluate a trial at all its budgets up to a number of samples; with a budget rule, at what the rule came to."""
    coverage = None if trial.budget is None else trial.coverage(len(problems))
    if coverage is None or coverage.decisions is None:
        return curves_so_far(trial, problems, samples, [n for n in trial.budgets if n <= samples])
    points = curves_so_far(trial, problems, coverage.decisions.first, trial.fixed_budgets)
    adaptive = AdaptiveOutcomes(trial, coverage.decisions, coverage.ready_samples)
    for records, some in blocks(trial, problems, trial.samples, CURVE_COLUMNS):
        adaptive.add(adaptive.of_used(records), some)
    return points + adaptive.points(list(dict.fromkeys(point.aggregation for point in points)))


def curves_so_far(trial: Trial, problems: Sequence[Problem], samples: int, budgets: Sequence[int]) -> list[CurvePoint]:
    """Evaluate the first `samples` samples of a trial at the given budgets."""
    parts, cost = [], Cost()
    for records, some in blocks(trial, problems, samples, CURVE_COLUMNS):
        parts.append(outcomes_of(trial, records, some))
        cost += cost_of(records)
    return curve_points(join_outcomes(parts), cost, budgets, trial=trial.name, sampler=trial.sampler)


def without_empty_scores(outcomes: Outcomes) -> Outcomes:
    """Return outcomes without the opinions of a LatentRM that has none: they would be curves at zero."""
    if outcomes.scores is not None and np.isnan(outcomes.scores).all():
        return replace(outcomes, scores=None, vote_weights=None, answer_scores=None, answer_vote_weights=None)
    return outcomes


def _first_score_error(trial: Trial, questions: int, samples: int) -> str | None:
    assert trial.scored is not None
    errors = trial.scored.store.read(questions, samples, ["score_error"])["score_error"].dropna()
    return next((error for error in errors if error != TRAJECTORY_FAILED), None)


def evaluate(trial: Trial, task: Task, coverage: Coverage | None = None) -> TrialResult:
    """Read a trial's trajectories once and compute its curves and counts.

    Budgets beyond what has been sampled, because the trial was stopped early, have the value NaN.

    Args:
        trial: The trial; the points of its beam searches belong to its curves, once they are finished.
        task: The questions that were asked.
        coverage: What the store holds of it, where that is known.
    """
    coverage = trial.coverage(len(task.problems)) if coverage is None else coverage
    samples = coverage.ready_samples
    adaptive = None if coverage.decisions is None else AdaptiveOutcomes(trial, coverage.decisions, samples)
    outcomes, questions, first_error, transient = [], [], None, 0
    cost, totals, rows = Cost(), pd.Series(0.0, index=_TOTALS), 0
    for records, problems in blocks(trial, task.problems, samples if adaptive is None else trial.samples, _COLUMNS):
        # What every question has, for curves.
        even = records if adaptive is None else records[records["sample_index"] < samples]
        block = outcomes_of(trial, even, problems)
        outcomes.append(block)
        cost += cost_of(even)
        if adaptive is None:
            chosen = chosen_answers(block, records)
        else:
            records = adaptive.of_used(records)
            chosen = chosen_in_groups(adaptive.add(records, problems), len(problems))
        rows += len(records)
        failed = records["failed"]
        records = records.assign(
            unscored=records["score"].isna() & ~failed if "score" in records else False,
            unsure=without_confidence(records),
        )
        questions.append(per_question(records, trial.name, problems, chosen))
        totals = totals + records[_TOTALS].sum()
        transient += sum(map(is_transient, records.loc[failed, "error"]))
        first_error = first_error or next(iter(records.loc[failed, "error"]), None)
    joined = without_empty_scores(join_outcomes(outcomes))
    if trial.name == GREEDY:
        points = [greedy_point(joined, cost)]
    else:
        points = curve_points(joined, cost, trial.fixed_budgets, trial=trial.name, sampler=trial.sampler)
        points += adaptive.points(available(joined)) if adaptive else []
    searched = [evaluate_search(search, task.problems, trial.vote_calibration) for search in trial.searches]
    beams = [found for found in searched if found is not None]
    for found in beams:
        points += found.points(trial.name)
    summary = {
        "trial": trial.name,
        "sampler": trial.store.spec.sampler,
        "samples": samples,
        "trajectories": rows,
        "errors": int(totals["failed"]),
        "transient_errors": transient,
        "first_error": first_error,
        "unparsable": int(totals["unparsable"]),
        "cut": int(totals["cut"]),
        "cut_answers": trial.cut_answers,
        "latent_steps": int(totals["latent_steps"]),
        "answer_tokens": int(totals["answer_tokens"]),
        "device_seconds": float(totals["seconds"]),
        "unscored": int(totals["unscored"]),
        "first_score_error": _first_score_error(trial, len(task.problems), samples) if totals["unscored"] else None,
        "without_confidence": int(totals["unsure"]),
        "store": trial.store.spec.key,
        "searches": [found.summary for found in beams],
        **({"budget": adaptive.summary()} if adaptive else {}),
    }
    answers = effective_number(joined.votes, joined.votes >= 0)
    correct = joined.correct.sum(axis=1)
    return TrialResult(trial, points, summary, pd.concat(questions, ignore_index=True), answers, correct)


def evaluate_all(
    trials: Iterable[Trial], task: Task, coverage: Mapping[str, Coverage] | None = None
) -> list[TrialResult]:
    """Evaluate all trials of which the store has a sample of every question.

    Args:
        trials: The trials.
        task: The questions that were asked.
        coverage: What the store holds, by the name of the trial, where that is known.
    """
    known = coverage or {}
    questions = len(task.problems)
    found = ((trial, known.get(trial.name) or trial.coverage(questions)) for trial in trials)
    return [evaluate(trial, task, one) for trial, one in found if one.ready_samples > 0]
