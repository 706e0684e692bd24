"""From records to dense arrays: everything has its place, and what contradicts itself is refused."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from latent_core.selection.calibration import VoteCalibration
from orchestrator.analysis.outcomes import join_outcomes, outcomes_from_records

QUESTIONS = ["b", "a"]
RIGHT = {"a": {"3"}, "b": {"7"}}


def make_records(answers: dict[str, Sequence[str | None]], right: dict[str, set[str]] = RIGHT) -> pd.DataFrame:
    """One record per answer."""
    return pd.DataFrame(
        [
            {
                "question_id": question,
                "sample_index": index,
                "answer": answer,
                "correct": answer in right[question],
                "error": None,
            }
            for question, given in answers.items()
            for index, answer in enumerate(given)
        ]
    ).astype({"error": object})


ANSWERS: dict[str, Sequence[str | None]] = {"a": ["3", None, "3", "4"], "b": ["5", "6", "6", None]}


def test_records_become_dense_arrays_in_the_order_of_the_questions() -> None:
    records = make_records(ANSWERS).sample(frac=1.0, random_state=0)
    outcomes = outcomes_from_records(records, QUESTIONS)
    np.testing.assert_array_equal(outcomes.correct, [[False] * 4, [True, False, True, False]])
    b, a = outcomes.votes
    assert a[0] == a[2] != a[3]
    assert a[1] == b[3] == -1
    assert b[1] == b[2] != b[0]
    assert outcomes.scores is outcomes.vote_weights is outcomes.answer_scores is None


def test_a_failed_row_is_wrong_and_does_not_vote_whatever_it_claims() -> None:
    records = make_records(ANSWERS).assign(score=1.0)
    records.loc[0, "error"] = "out of memory"
    outcomes = outcomes_from_records(records, QUESTIONS, calibration=VoteCalibration())
    assert outcomes.votes[1, 0] == -1
    assert not outcomes.correct[1, 0]
    assert outcomes.correct.shape == (2, 4)
    assert outcomes.scores is not None
    assert outcomes.vote_weights is not None
    assert np.isnan(outcomes.scores[1, 0])
    assert outcomes.vote_weights[1, 0] == 0
    # An answer that cannot be read has a score all the same: the scorer may choose it, and is then wrong.
    assert outcomes.scores[1, 1] == 1.0


def test_nobody_answering_is_no_special_case() -> None:
    outcomes = outcomes_from_records(make_records({"a": [None, None], "b": [None, None]}), QUESTIONS)
    assert not outcomes.correct.any()
    assert (outcomes.votes == -1).all()


def test_several_answers_may_be_right() -> None:
    outcomes = outcomes_from_records(make_records(ANSWERS, {"a": {"3", "4"}, "b": {"6", "5"}}), QUESTIONS)
    np.testing.assert_array_equal(outcomes.correct, [[True, True, True, False], [True, False, True, True]])


def test_an_answer_may_be_right_for_one_question_and_wrong_for_another() -> None:
    outcomes = outcomes_from_records(make_records({"a": ["3"], "b": ["3"]}), QUESTIONS)
    np.testing.assert_array_equal(outcomes.correct, [[False], [True]])


@pytest.mark.parametrize(("row", "mark"), [(0, False), (6, True)])
def test_contradicting_marks_are_refused(row: int, mark: bool) -> None:
    records = make_records(ANSWERS)
    records.loc[row, "correct"] = mark
    question, answer = records.loc[row, ["question_id", "answer"]]
    with pytest.raises(ValueError, match=f"question '{question}': answer '{answer}' is marked right in one"):
        outcomes_from_records(records, QUESTIONS)
    # What a failed row claims contradicts nobody.
    records.loc[row, "error"] = "lost"
    assert not outcomes_from_records(records, QUESTIONS).correct[QUESTIONS.index(question), row % 4]


def test_gaps_repetitions_and_strangers_are_named() -> None:
    records = make_records(ANSWERS)
    with pytest.raises(ValueError, match=r"question 'b': sample 1 of 0\.\.3 is missing$"):
        outcomes_from_records(records.drop(index=5), QUESTIONS)
    with pytest.raises(ValueError, match=r"question 'a': sample 0 .* is there 2 times"):
        outcomes_from_records(pd.concat([records, records.head(1)]), QUESTIONS)
    with pytest.raises(ValueError, match=r"question 'c': sample 0 .* is missing \(and 3 more"):
        outcomes_from_records(records, [*QUESTIONS, "c"])
    with pytest.raises(ValueError, match="question 'b' was not asked"):
        outcomes_from_records(records, ["a"])
    with pytest.raises(ValueError, match="question 'a' is there twice"):
        outcomes_from_records(records, [*QUESTIONS, "a"])
    with pytest.raises(ValueError, match="without data"):
        outcomes_from_records(records.head(0), QUESTIONS)


def test_scores_go_where_their_samples_are_and_scorers_are_kept_apart() -> None:
    records = make_records(ANSWERS).assign(score=np.arange(8.0), answer_score=-np.arange(8.0))
    records.loc[2, "score"] = np.nan
    calibrations = {"calibration": VoteCalibration(temperature=2.0), "answer_calibration": VoteCalibration()}
    outcomes = outcomes_from_records(records.sample(frac=1.0, random_state=1), QUESTIONS, **calibrations)
    np.testing.assert_array_equal(outcomes.scores, [[4, 5, 6, 7], [0, 1, np.nan, 3]])
    np.testing.assert_array_equal(outcomes.answer_scores, [[-4, -5, -6, -7], [0, -1, -2, -3]])
    np.testing.assert_allclose(outcomes.vote_weights, [np.exp([-1.5, -1, -0.5, 0]), [*np.exp([-1.5, -1]), 0, 1]])
    np.testing.assert_allclose(outcomes.answer_vote_weights, [np.exp([0, -1, -2, -3])] * 2)


def test_weights_need_a_calibration_of_their_own_scorer() -> None:
    records = make_records(ANSWERS).assign(score=1.0, answer_score=2.0)
    outcomes = outcomes_from_records(records, QUESTIONS, calibration=VoteCalibration())
    assert outcomes.vote_weights is not None
    assert outcomes.answer_scores is not None
    assert outcomes.answer_vote_weights is None
    assert outcomes_from_records(make_records(ANSWERS), QUESTIONS, calibration=VoteCalibration()).vote_weights is None


def test_missing_scores_may_be_spelled_as_the_database_likes() -> None:
    records = make_records(ANSWERS).assign(score=pd.array([1.0, None] * 4, dtype="Float64"))
    scores = outcomes_from_records(records, QUESTIONS).scores
    np.testing.assert_array_equal(scores, [[1, np.nan] * 2] * 2)
    objects = outcomes_from_records(records.astype({"score": object}), QUESTIONS).scores
    np.testing.assert_array_equal(objects, scores)


def test_an_infinite_score_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        outcomes_from_records(make_records(ANSWERS).assign(score=np.inf), QUESTIONS)


def test_joined_parts_stand_one_after_the_other() -> None:
    records = make_records(ANSWERS).assign(score=np.arange(8.0))
    parts = [outcomes_from_records(records[records["question_id"] == name], [name]) for name in QUESTIONS]
    whole, joined = outcomes_from_records(records, QUESTIONS), join_outcomes(parts)
    np.testing.assert_array_equal(joined.correct, whole.correct)
    np.testing.assert_array_equal(joined.scores, whole.scores)
    assert joined.answer_scores is None
    with pytest.raises(ValueError, match="1 of 2 sets of questions have no scores"):
        join_outcomes([parts[0], replace(parts[1], scores=None)])
