"""From the store to curves: what trials report while they run and what reports are made of. Imports no torch."""

from collections.abc import Sequence

import numpy as np

from latent_core.tasks.answers import canonical_answer
from latent_core.tasks.base import Problem
from orchestrator.curves import CurveRow, curve_rows, outcomes_from_records
from orchestrator.setting import Setting

CURVE_COLUMNS = ("question_id", "answer", "correct", "error", "flops", "prompt_flops")
"""What curves need of a trajectory."""


def reference_answers(problems: Sequence[Problem]) -> dict[str, str]:
    """Return the canonical reference answer of each question; where there is none, the reference as it stands."""
    return {problem.question_id: canonical_answer(problem.answer) or problem.answer for problem in problems}


def sampled_so_far(setting: Setting, questions: int) -> int:
    """Return how many samples the store has of every question; an interrupted or stopped setting has fewer."""
    complete = setting.store.covered(questions, setting.samples).all(axis=0)
    return int(np.argmin(complete)) if not complete.all() else setting.samples


def curves_so_far(
    setting: Setting, problems: Sequence[Problem], samples: int, budgets: Sequence[int]
) -> list[CurveRow]:
    """Evaluate the first `samples` samples of a setting at the given budgets."""
    records = setting.store.read(len(problems), samples, CURVE_COLUMNS)
    outcomes = outcomes_from_records(records, reference_answers(problems))
    return curve_rows(outcomes, records, budgets, trial=setting.name, sampler=setting.sampler)
