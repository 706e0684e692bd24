"""From records to curve rows and back from disk."""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latent_core.errors import UserError
from orchestrator.curves import (
    COLUMNS,
    CurveRow,
    cost_of,
    curve_rows,
    greedy_row,
    guess_rows,
    read_curves_csv,
    write_curves_csv,
)
from orchestrator.outcomes import outcomes_from_records

TRUTHS = {"b": "7", "a": "3"}


def make_records(answers: dict[str, Sequence[str | None]], truths: dict[str, str] = TRUTHS) -> pd.DataFrame:
    """One record per answer; flops are 10 and 30 in turn, and reading a prompt costs 100."""
    rows = [
        {
            "question_id": question,
            "sample_index": index,
            "answer": answer,
            "correct": answer == truths[question],
            "error": None,
            "latent_steps": 6,
            "answer_tokens": 4,
            "flops": 10.0 if index % 2 == 0 else 30.0,
            "prompt_flops": 100.0,
        }
        for question, given in answers.items()
        for index, answer in enumerate(given)
    ]
    return pd.DataFrame(rows)


ANSWERS: dict[str, Sequence[str | None]] = {"a": ["3", None, "3", "4"], "b": ["5", "6", "6", None]}


def test_records_become_dense_arrays_in_the_order_of_the_truths() -> None:
    records = make_records(ANSWERS).sample(frac=1.0, random_state=0)
    outcomes = outcomes_from_records(records, TRUTHS)
    np.testing.assert_array_equal(outcomes.correct, [[False] * 4, [True, False, True, False]])
    b, a = outcomes.votes
    assert a[0] == a[2] == outcomes.truth[1] != a[3]
    assert a[1] == b[3] == -1
    assert b[1] == b[2] != b[0]
    assert outcomes.truth[0] == -1


def test_a_failed_row_is_wrong_and_does_not_vote_whatever_it_claims() -> None:
    records = make_records(ANSWERS)
    records["error"] = records["error"].astype(object)
    records.loc[0, "error"] = "out of memory"
    outcomes = outcomes_from_records(records, TRUTHS)
    assert outcomes.votes[1, 0] == -1
    assert not outcomes.correct[1, 0]
    assert outcomes.correct.shape == (2, 4)


def test_nobody_answering_is_no_special_case() -> None:
    outcomes = outcomes_from_records(make_records({"a": [None, None], "b": [None, None]}), TRUTHS)
    assert not outcomes.correct.any()
    assert (outcomes.votes == -1).all()


def test_correct_decides_even_where_the_reference_is_spelled_differently() -> None:
    records = make_records(ANSWERS)
    outcomes = outcomes_from_records(records, {"a": "3.0", "b": "7"})
    assert outcomes.truth[0] == outcomes.votes[0, 0]


@pytest.mark.parametrize("marks", [{0: False}, {3: True}], ids=["right answer marked wrong", "two right answers"])
def test_contradicting_marks_are_refused(marks: dict[int, bool]) -> None:
    records = make_records(ANSWERS)
    for row, mark in marks.items():
        records.loc[row, "correct"] = mark
    with pytest.raises(ValueError, match=r"question 'a', sample \d.*contradicts"):
        outcomes_from_records(records, TRUTHS)


def test_gaps_repetitions_and_strangers_are_named() -> None:
    records = make_records(ANSWERS)
    with pytest.raises(ValueError, match=r"question 'b': sample 1 of 0\.\.3 is missing$"):
        outcomes_from_records(records.drop(index=5), TRUTHS)
    with pytest.raises(ValueError, match=r"question 'a': sample 0 .* is there 2 times"):
        outcomes_from_records(pd.concat([records, records.head(1)]), TRUTHS)
    with pytest.raises(ValueError, match=r"question 'c': sample 0 .* is missing \(and 3 more"):
        outcomes_from_records(records, {**TRUTHS, "c": "1"})
    with pytest.raises(ValueError, match="question 'b' has no reference"):
        outcomes_from_records(records, {"a": "3"})
    with pytest.raises(ValueError, match="without data"):
        outcomes_from_records(records.head(0), TRUTHS)


def test_rows_hold_the_estimates_and_their_cost() -> None:
    records = make_records(ANSWERS)
    rows = curve_rows(outcomes_from_records(records, TRUTHS), cost_of(records), [1, 2, 8], trial="t", sampler="s")
    assert [(row.aggregation, row.n) for row in rows] == [
        (aggregation, n) for aggregation in ("coverage", "majority_vote") for n in (1, 2, 8)
    ]
    by_key = {(row.aggregation, row.n): row for row in rows}
    assert by_key["coverage", 1].value == pytest.approx(0.25)
    assert by_key["coverage", 2].value == pytest.approx((1 - 1 / 6) / 2)
    # Pairs of a's votes 3 - 3 4: three are all for 3, two are ties of 3 and 4, one is for 4.
    assert by_key["majority_vote", 2].value == pytest.approx((3 + 2 * 0.5) / 6 / 2)
    assert by_key["coverage", 2].trajectories == 4
    # Two prompts, and per question and sample the mean of 10 and 30.
    assert by_key["coverage", 2].flops == pytest.approx(2 * 100 + 2 * 2 * 20)
    assert by_key["coverage", 2].lo <= by_key["coverage", 2].value <= by_key["coverage", 2].hi
    unknown = by_key["majority_vote", 8]
    assert np.isnan([unknown.value, unknown.lo, unknown.hi]).all()
    assert (unknown.trial, unknown.sampler, unknown.trajectories) == ("t", "s", 16)


def test_a_failed_row_may_lack_its_cost_but_no_other() -> None:
    records = make_records(ANSWERS)
    outcomes = outcomes_from_records(records, TRUTHS)
    records.loc[0, ["flops", "prompt_flops"]] = np.nan
    assert np.isnan(curve_rows(outcomes, cost_of(records), [1], trial="t", sampler="s")[0].flops)
    records["error"] = records["error"].astype(object)
    records.loc[0, "error"] = "lost"
    assert curve_rows(outcomes, cost_of(records), [1], trial="t", sampler="s")[0].flops == pytest.approx(
        200 + 70 / 4 + 20
    )


def test_greedy_is_one_sample_without_a_sampler() -> None:
    records = make_records({"a": ["3"], "b": ["6"]})
    row = greedy_row(outcomes_from_records(records, TRUTHS), cost_of(records))
    assert (row.trial, row.sampler, row.aggregation, row.n, row.value) == ("greedy", "none", "greedy", 1, 0.5)
    assert (row.trajectories, row.flops) == (2, 220.0)
    many = make_records(ANSWERS)
    with pytest.raises(ValueError, match="one sample per question"):
        greedy_row(outcomes_from_records(many, TRUTHS), cost_of(many))


def test_guesses_cost_nothing() -> None:
    rows = guess_rows({"3": 0.5, "7": 0.25}, TRUTHS, [1, 2])
    assert [row.value for row in rows] == pytest.approx([0.375, (0.75 + 7 / 16) / 2])
    assert {(row.aggregation, row.sampler, row.flops) for row in rows} == {("random_guess", "random_guess", 0.0)}
    uniform = guess_rows({"3": 0.5, "7": 0.5}, TRUTHS, [2])[0]
    assert uniform.lo == pytest.approx(uniform.hi) == pytest.approx(0.75)


def test_csv_round_trip(tmp_path: Path) -> None:
    rows = [
        CurveRow("gaussian, sigma=0.1", "gaussian", "coverage", 64, 1 / 3, 0.1, 0.7, 128, 1.23456789e21),
        CurveRow("t", "s", "majority_vote", 128, np.nan, np.nan, np.nan, 256, 0.0),
    ]
    path = tmp_path / "curves.csv"
    path.write_text("something older and longer\n" * 50)
    write_curves_csv(rows, path)
    assert path.read_text().splitlines()[0] == "trial,sampler,aggregation,n,value,lo,hi,trajectories,flops"
    back = read_curves_csv(path)
    assert back[0] == rows[0]
    np.testing.assert_array_equal(astuple(back[1])[3:], astuple(rows[1])[3:])
    write_curves_csv(back, tmp_path / "again.csv")
    assert path.read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.csv", "curves.csv"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", f"{','.join(COLUMNS)}\nt,s,coverage,many,1,1,1,1,1\n"])
def test_other_files_are_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"curves\.csv"):
        read_curves_csv(path)
