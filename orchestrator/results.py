"""From the store to curves: what trials report while they run and what reports are made of. Imports no torch."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from latent_core.tasks.answers import canonical_answer
from latent_core.tasks.base import Problem
from orchestrator.curves import Cost, CurveRow, cost_of, curve_rows
from orchestrator.outcomes import join_outcomes, outcomes_from_records
from orchestrator.setting import Setting

CURVE_COLUMNS = ("question_id", "answer", "correct", "error", "flops", "prompt_flops")
"""What curves need of a trajectory."""

_QUESTIONS_PER_READ = 256


def reference_answers(problems: Sequence[Problem]) -> dict[str, str]:
    """Return the canonical reference answer of each question; where there is none, the reference as it stands."""
    return {problem.question_id: canonical_answer(problem.answer) or problem.answer for problem in problems}


def sampled_so_far(setting: Setting, questions: int) -> int:
    """Return how many samples the store has of every question; an interrupted or stopped setting has fewer."""
    complete = setting.store.covered(questions, setting.samples).all(axis=0)
    return int(np.argmin(complete)) if not complete.all() else setting.samples


def blocks(
    setting: Setting, problems: Sequence[Problem], samples: int, columns: Sequence[str]
) -> Iterator[tuple[pd.DataFrame, Sequence[Problem]]]:
    """Read a setting's trajectories some questions at a time, so that memory does not grow with their number."""
    for first in range(0, len(problems), _QUESTIONS_PER_READ):
        end = min(first + _QUESTIONS_PER_READ, len(problems))
        yield setting.store.read(end, samples, columns, first_question=first), problems[first:end]


def curves_so_far(
    setting: Setting, problems: Sequence[Problem], samples: int, budgets: Sequence[int]
) -> list[CurveRow]:
    """Evaluate the first `samples` samples of a setting at the given budgets."""
    parts, cost = [], Cost()
    for records, some in blocks(setting, problems, samples, CURVE_COLUMNS):
        parts.append(outcomes_from_records(records, reference_answers(some)))
        cost += cost_of(records)
    return curve_rows(join_outcomes(parts), cost, budgets, trial=setting.name, sampler=setting.sampler)
