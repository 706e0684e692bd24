"""From trajectory records to the dense arrays that the estimators read."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.selection.estimators import BoolArray, FloatArray, IntArray, token_probabilities
from latent_core.tasks.base import Problem
from orchestrator.store.counting import without_confidence
from orchestrator.store.trial import Trial


def outcomes_from_records(
    records: pd.DataFrame,
    question_ids: Sequence[str],
    *,
    calibration: VoteCalibration | None = None,
    answer_calibration: VoteCalibration | None = None,
) -> Outcomes:
    """Arrange records as dense arrays: questions in the order of `question_ids`, samples by their index.

    A row with an error, or without an answer, is wrong and does not vote. A row with an error has no score either.
    Answers that were cut off are none where they abstain: `orchestrator.analysis.cut_answers.judged` has seen to that.

    Args:
        records: One row per trajectory, with the columns question_id, sample_index, answer (canonical, nullable),
            correct and error (nullable); and, where the trajectories are scored, score and answer_score (NaN where
            one is not). Likewise answer_logprob and answer_tokens, where stores have them; they count only if no
            sample lacks them that has an answer.
        question_ids: The questions that were asked, each once.
        calibration: How scores become vote weights; without it there are none.
        answer_calibration: The same for answer_score, which is another scale.

    Returns:
        Outcomes of Q questions and N samples, N being the largest sample index plus one.

    Raises:
        ValueError: If a question lacks a sample, a sample is there twice, a question was not asked, a score is
            infinite, or the same answer of a question is called right in one sample and wrong in another.
    """
    questions = list(question_ids)
    if not questions or records.empty:
        raise ValueError(f"no curve without data: {len(questions)} questions and {len(records)} records")
    row, column = _positions(records, questions)
    # Failures are rows like all others; only what they claim to have answered is disregarded.
    votes_allowed = records["error"].isna() & records["answer"].notna()
    codes, answers = pd.factorize(records["answer"].where(votes_allowed))
    right = records["correct"].to_numpy(dtype=np.bool_, na_value=False) & (codes >= 0)
    _refuse_contradictions(questions, answers, row, codes, right)
    shape = (len(questions), int(column.max()) + 1)
    votes, correct = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    votes[row, column], correct[row, column] = codes, right
    scores = _scores(records, "score", shape, row, column)
    answer_scores = _scores(records, "answer_score", shape, row, column)
    confidences, confidence_weights = _confidences(records, shape, row, column)
    return Outcomes(
        correct=correct,
        votes=votes,
        scores=scores,
        vote_weights=_weights(scores, calibration),
        answer_scores=answer_scores,
        answer_vote_weights=_weights(answer_scores, answer_calibration),
        confidences=confidences,
        confidence_weights=confidence_weights,
    )


def outcomes_of(trial: Trial, records: pd.DataFrame, problems: Sequence[Problem]) -> Outcomes:
    """Arrange what `blocks` yields as dense arrays, with vote weights where there is a calibration."""
    scored = trial.scored
    return outcomes_from_records(
        records,
        [problem.question_id for problem in problems],
        calibration=scored.calibration if scored else None,
        answer_calibration=scored.answer_calibration if scored else None,
    )


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """Put the outcomes of several sets of questions, sampled equally often, one after the other.

    Confidences that some parts lack, whose shards are older than them, are known of none.

    Raises:
        ValueError: If some parts have scores or weights that others lack.
    """
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(Outcomes)):
        arrays = [getattr(part, name) for part in parts]
        absent = sum(array is None for array in arrays)
        if 0 < absent < len(arrays) and name not in ("confidences", "confidence_weights"):
            raise ValueError(f"{absent} of {len(arrays)} sets of questions have no {name}, the others do")
        joined[name] = None if absent else np.concatenate(arrays)
    return Outcomes(**joined)


def _positions(records: pd.DataFrame, questions: list[str]) -> tuple[IntArray, IntArray]:
    """Row and column of each record in the dense arrays, once it is sure that they fill them exactly."""
    index = pd.Index(questions, dtype=object)
    if index.has_duplicates:
        raise ValueError(f"question {index[index.duplicated()][0]!r} is there twice")
    row = index.get_indexer(pd.Index(records["question_id"], dtype=object))
    if (row < 0).any():
        raise ValueError(f"question {records['question_id'].iloc[int(np.argmin(row))]!r} was not asked")
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


def _refuse_contradictions(
    questions: list[str], answers: "pd.Index[str]", row: IntArray, codes: IntArray, right: BoolArray
) -> None:
    """Votes and coverage would disagree if one answer of a question were both right and wrong."""
    voters = codes >= 0
    # A number per pair of question and answer; few of all possible pairs occur.
    pairs, number = np.unique(row[voters] * max(1, len(answers)) + codes[voters], return_inverse=True)
    given, said_right = np.bincount(number), np.bincount(number, weights=right[voters])
    disputed = pairs[(said_right > 0) & (said_right < given)]
    if len(disputed):
        q, code = divmod(int(disputed[0]), len(answers))
        raise ValueError(
            f"question {questions[q]!r}: answer {answers[code]!r} is marked right in one sample and wrong in another"
        )


def _scores(
    records: pd.DataFrame, column: str, shape: tuple[int, int], row: IntArray, sample: IntArray
) -> FloatArray | None:
    """A column of scores [Q, N], NaN for failed rows; None where records have no such column."""
    if column not in records:
        return None
    scores = np.full(shape, np.nan)
    values = pd.to_numeric(records[column]).to_numpy(dtype=np.float64, na_value=np.nan)
    scores[row, sample] = np.where(records["error"].isna(), values, np.nan)
    return scores


def _confidences(
    records: pd.DataFrame, shape: tuple[int, int], row: IntArray, sample: IntArray
) -> tuple[FloatArray, FloatArray] | tuple[None, None]:
    """Log-probabilities of answers and vote weights [Q, N]; None where a sample lacks one that has not failed."""
    found = _scores(records, "answer_logprob", shape, row, sample)
    tokens = _scores(records, "answer_tokens", shape, row, sample)
    if found is None or tokens is None or without_confidence(records).any():
        return None, None
    return found, token_probabilities(found, tokens)


def _weights(scores: FloatArray | None, calibration: VoteCalibration | None) -> FloatArray | None:
    return None if scores is None or calibration is None else calibration.weights(scores)
