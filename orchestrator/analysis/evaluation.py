"""From the store to curves: what trials report while they run and what reports are made of. Imports no torch."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import Outcomes
from latent_core.tasks.base import Problem
from orchestrator.analysis.curves import Cost, CurveRow, cost_of, curve_rows
from orchestrator.analysis.cut_answers import judged
from orchestrator.analysis.outcomes import join_outcomes, outcomes_from_records
from orchestrator.store.trial import Trial

CURVE_COLUMNS = ("question_id", "answer", "correct", "error", "cut", "flops", "prompt_flops")
"""What curves need of a trajectory."""

_SCORE_COLUMNS = ("score", "score_prompt_flops", "score_flops")
_ANSWER_SCORE_COLUMNS = ("answer_score", "answer_score_prompt_flops", "answer_score_flops")
_QUESTIONS_PER_READ = 256
_ADDRESS = ["question_index", "sample_index"]


def sampled_so_far(trial: Trial, questions: int) -> int:
    """Return how many samples of every question are ready; an interrupted or stopped trial has fewer."""
    return trial.coverage(questions).ready_samples


def blocks(
    trial: Trial, problems: Sequence[Problem], samples: int, columns: Sequence[str]
) -> Iterator[tuple[pd.DataFrame, Sequence[Problem]]]:
    """Read a trial's trajectories some questions at a time, so that memory does not grow with their number.

    Where a LatentRM scores the trial, the columns of its scores stand beside those of the trajectories, NaN where a
    trajectory has no score. What `judged` adds and changes is there too.
    """
    for first in range(0, len(problems), _QUESTIONS_PER_READ):
        end = min(first + _QUESTIONS_PER_READ, len(problems))
        records = trial.store.read(end, samples, columns, first_question=first)
        if trial.scored is not None:
            store = trial.scored.store
            # Without answer-aware scores these columns hold nothing, and must not become curves.
            wanted = (*_SCORE_COLUMNS, *(_ANSWER_SCORE_COLUMNS if store.spec.score_answer else ()))
            scores = store.read(end, samples, wanted, first_question=first)
            # A folder without shards gives a frame without types.
            scores = scores.astype(dict.fromkeys(_ADDRESS, np.int64) | dict.fromkeys(wanted, np.float64))
            records = records.merge(scores, how="left", on=_ADDRESS)
        yield judged(records, trial), problems[first:end]


def outcomes_of(trial: Trial, records: pd.DataFrame, problems: Sequence[Problem]) -> Outcomes:
    """Arrange what `blocks` yields as dense arrays, with vote weights where there is a calibration."""
    scored = trial.scored
    return outcomes_from_records(
        records,
        [problem.question_id for problem in problems],
        calibration=scored.calibration if scored else None,
        answer_calibration=scored.answer_calibration if scored else None,
    )


def curves_so_far(trial: Trial, problems: Sequence[Problem], samples: int, budgets: Sequence[int]) -> list[CurveRow]:
    """Evaluate the first `samples` samples of a trial at the given budgets."""
    parts, cost = [], Cost()
    for records, some in blocks(trial, problems, samples, CURVE_COLUMNS):
        parts.append(outcomes_of(trial, records, some))
        cost += cost_of(records)
    return curve_rows(join_outcomes(parts), cost, budgets, trial=trial.name, sampler=trial.sampler)
