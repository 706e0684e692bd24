"""Rows of `questions.csv`: what became of each question's samples, and what each aggregation chooses among them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import AGGREGATIONS, Outcomes, available
from latent_core.selection.estimators import NO_CHOICE, IntArray
from latent_core.tasks.base import Problem


def chosen_answers(outcomes: Outcomes, records: pd.DataFrame) -> dict[str, list[str | None]]:
    """Return the answer of every question that each aggregation chooses among all samples.

    Args:
        outcomes: Of Q questions and N samples.
        records: What they were made of, in the same order.

    Returns:
        Q answers under the name of every aggregation that chooses one; None where it has none.
    """
    answers = records["answer"].to_numpy().reshape(outcomes.correct.shape)
    found: dict[str, list[str | None]] = {}
    for name in available(outcomes):
        if (choice := AGGREGATIONS[name].choice) is not None:
            samples = choice(outcomes)
            found[name] = [
                None if sample == NO_CHOICE or pd.isna(own[sample]) else str(own[sample])
                for own, sample in zip(answers, samples, strict=True)
            ]
    return found


def chosen_in_groups(
    groups: Iterable[tuple[IntArray, Outcomes, pd.DataFrame]], questions: int
) -> dict[str, list[str | None]]:
    """Put together what is chosen in groups of questions, each given by its places among all of them."""
    found: dict[str, list[str | None]] = {}
    for places, outcomes, records in groups:
        for name, answers in chosen_answers(outcomes, records).items():
            whole = found.setdefault(name, [None] * questions)
            for place, answer in zip(places.tolist(), answers, strict=True):
                whole[place] = answer
    return found


def per_question(
    records: pd.DataFrame, trial: str, problems: Sequence[Problem], chosen: Mapping[str, Sequence[str | None]]
) -> pd.DataFrame:
    """Count what became of each question's samples."""
    by_question = records.groupby("question_id", sort=False)
    counts = by_question[["correct", "failed", "unparsable", "cut"]].sum()
    distinct, most_frequent = _answers(records)
    return pd.DataFrame(
        {
            "trial": trial,
            "samples": by_question.size(),
            "correct": counts["correct"],
            "errors": counts["failed"],
            "unparsable": counts["unparsable"],
            "distinct_answers": distinct,
            "most_frequent_answer": most_frequent,
            "cut": counts["cut"],
            # Records are in the order of the questions.
            "question": [problem.question for problem in problems],
            "reference": [problem.answer for problem in problems],
            **{f"chosen_by_{name}": answers for name, answers in chosen.items()},
        }
    ).reset_index()


def _answers(records: pd.DataFrame) -> tuple[IntArray, list[Any]]:
    """Number of distinct answers [Q], and the most frequent one, the first in order among equals; None where none is.

    Questions are in the order of their first records.
    """
    question, questions = pd.factorize(records["question_id"])
    codes, answers = pd.factorize(records["answer"], sort=True)
    given = codes >= 0
    pairs, count = np.unique(question[given] * max(1, len(answers)) + codes[given], return_counts=True)
    row, code = np.divmod(pairs, max(1, len(answers)))
    distinct = np.bincount(row, minlength=len(questions))
    most_frequent: list[Any] = [None] * len(questions)
    # The last one written wins: the most frequent, and among equals the smallest code.
    for index in np.lexsort((-code, count)):
        most_frequent[row[index]] = answers[code[index]]
    return distinct.astype(np.int64), most_frequent
