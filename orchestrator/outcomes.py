"""From trajectory records to the dense arrays that the estimators read."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import Outcomes
from latent_core.selection.estimators import IntArray


def outcomes_from_records(records: pd.DataFrame, truths: Mapping[str, str]) -> Outcomes:
    """Arrange records as dense arrays: questions in the order of `truths`, samples by their index.

    The column `correct` decides what is right; the reference serves to find records that belong to another task. A
    row with an error, or without an answer, is wrong and does not vote.

    Args:
        records: One row per trajectory, with the columns question_id, sample_index, answer (canonical, nullable),
            correct and error (nullable).
        truths: The canonical reference answer of each question that was asked.

    Returns:
        Outcomes of Q questions and N samples, N being the largest sample index plus one.

    Raises:
        ValueError: If a question lacks a sample, a sample is there twice, a question has no reference, or `correct`
            contradicts itself or the reference.
    """
    if not truths or records.empty:
        raise ValueError(f"no curve without data: {len(truths)} questions and {len(records)} records")
    questions = list(truths)
    row, column = _positions(records, questions)
    # Failures are rows like all others; only what they claim to have answered is disregarded.
    votes_allowed = records["error"].isna() & records["answer"].notna()
    codes, answers = pd.factorize(records["answer"].where(votes_allowed))
    shape = (len(questions), int(column.max()) + 1)
    votes, correct = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    votes[row, column] = codes
    correct[row, column] = records["correct"].to_numpy(dtype=np.bool_, na_value=False) & (codes >= 0)

    reference = pd.Index(answers).get_indexer(pd.Index(list(truths.values()), dtype=object)).astype(np.int64)
    right = np.where(correct, votes, -1).max(axis=1)
    truth = np.where(right >= 0, right, reference)
    # One right answer per question, and every vote for it marked right: otherwise votes and coverage would disagree.
    disputed = (correct != (votes == truth[:, None])) | (~correct & (votes == reference[:, None]))
    disputed &= votes >= 0
    if disputed.any():
        q, i = np.argwhere(disputed)[0]
        raise ValueError(
            f"question {questions[q]!r}, sample {i}: answer {answers[votes[q, i]]!r} marked correct={correct[q, i]} "
            f"contradicts the reference {truths[questions[q]]!r} or another sample of the question"
        )
    return Outcomes(correct=correct, votes=votes, truth=truth)


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """Put the outcomes of several sets of questions, sampled equally often, one after the other."""
    return Outcomes(
        correct=np.concatenate([part.correct for part in parts]),
        votes=np.concatenate([part.votes for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
    )


def _positions(records: pd.DataFrame, questions: list[str]) -> tuple[IntArray, IntArray]:
    """Row and column of each record in the dense arrays, once it is sure that they fill them exactly."""
    row = pd.Index(questions, dtype=object).get_indexer(pd.Index(records["question_id"], dtype=object))
    if (row < 0).any():
        raise ValueError(f"question {records['question_id'].iloc[int(np.argmin(row))]!r} has no reference answer")
    column = records["sample_index"].to_numpy(dtype=np.int64)
    if (column < 0).any():
        raise ValueError(f"sample indices start at 0, got {column.min()}")
    times = np.zeros((len(questions), int(column.max()) + 1), dtype=np.int64)
    np.add.at(times, (row, column), 1)
    if (times != 1).any():
        q, i = np.argwhere(times != 1)[0]
        problem = "is missing" if times[q, i] == 0 else f"is there {times[q, i]} times"
        others = f" (and {(times != 1).sum() - 1} more missing or repeated)" if (times != 1).sum() > 1 else ""
        raise ValueError(f"question {questions[q]!r}: sample {i} of 0..{times.shape[1] - 1} {problem}{others}")
    return row.astype(np.int64), column
