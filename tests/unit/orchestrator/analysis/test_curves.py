"""From records to curve rows and back from disk."""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latent_core.errors import UserError
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration
from orchestrator.analysis.curves import (
    COLUMNS,
    Cost,
    CurveRow,
    cost_of,
    curve_points,
    greedy_point,
    guess_rows,
    read_curves_csv,
    write_curves_csv,
)
from orchestrator.analysis.outcomes import outcomes_from_records


def rows_of(outcomes: Outcomes, cost: Cost, budgets: Sequence[int], **names: Any) -> list[CurveRow]:
    return [point.row() for point in curve_points(outcomes, cost, budgets, **names)]


TRUTHS = {"b": "7", "a": "3"}
QUESTIONS = list(TRUTHS)


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


def test_rows_hold_the_estimates_and_their_cost() -> None:
    records = make_records(ANSWERS)
    rows = rows_of(outcomes_from_records(records, QUESTIONS), cost_of(records), [1, 2, 8], trial="t", sampler="s")
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
    outcomes = outcomes_from_records(records, QUESTIONS)
    records.loc[0, ["flops", "prompt_flops"]] = np.nan
    assert np.isnan(rows_of(outcomes, cost_of(records), [1], trial="t", sampler="s")[0].flops)
    records["error"] = records["error"].astype(object)
    records.loc[0, "error"] = "lost"
    assert rows_of(outcomes, cost_of(records), [1], trial="t", sampler="s")[0].flops == pytest.approx(200 + 70 / 4 + 20)


def test_greedy_is_one_sample_without_a_sampler() -> None:
    records = make_records({"a": ["3"], "b": ["6"]})
    row = greedy_point(outcomes_from_records(records, QUESTIONS), cost_of(records)).row()
    assert (row.trial, row.sampler, row.aggregation, row.n, row.value) == ("greedy", "none", "greedy", 1, 0.5)
    assert (row.trajectories, row.flops) == (2, 220.0)
    many = make_records(ANSWERS)
    with pytest.raises(ValueError, match="one sample per question"):
        greedy_point(outcomes_from_records(many, QUESTIONS), cost_of(many))


def test_guesses_cost_nothing() -> None:
    rows = guess_rows([0.25, 0.5], [1, 2])
    assert [row.value for row in rows] == pytest.approx([0.375, (0.75 + 7 / 16) / 2])
    assert {(row.aggregation, row.sampler, row.flops) for row in rows} == {("random_guess", "random_guess", 0.0)}
    assert [row.trajectories for row in rows] == [2, 4]
    assert rows[0].lo < rows[0].value < rows[0].hi
    uniform = guess_rows([0.5, 0.5], [2])[0]
    assert uniform.lo == pytest.approx(uniform.hi) == pytest.approx(0.75)


def with_scores(records: pd.DataFrame, column: str = "score", prompt: float = 7.0, each: float = 3.0) -> pd.DataFrame:
    """Scores that prefer the last samples, and what they cost."""
    return records.assign(
        **{column: records["sample_index"] * 1.0, f"{column}_prompt_flops": prompt, f"{column}_flops": each}
    )


def test_scores_add_curves_with_their_cost_and_leave_the_others_alone() -> None:
    records = make_records(ANSWERS)
    plain = rows_of(outcomes_from_records(records, QUESTIONS), cost_of(records), [1, 4], trial="t", sampler="s")
    scored = with_scores(with_scores(records), "answer_score", prompt=11.0, each=5.0)
    outcomes = outcomes_from_records(
        scored, QUESTIONS, calibration=VoteCalibration(), answer_calibration=VoteCalibration()
    )
    rows = rows_of(outcomes, cost_of(scored), [1, 4], trial="t", sampler="s")
    assert rows[: len(plain)] == plain
    names = ["best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer"]
    assert [(row.aggregation, row.n) for row in rows[len(plain) :]] == [(name, n) for name in names for n in (1, 4)]
    # Sampling: two prompts, and twenty per question and sample. Scoring: one prompt, and a sample, per question.
    sampling = 2 * 100 + 4 * 2 * 20
    flops = {row.aggregation: row.flops for row in rows if row.n == 4}
    assert flops["coverage"] == flops["majority_vote"] == pytest.approx(sampling)
    assert flops["best_of_n"] == flops["weighted_vote"] == pytest.approx(sampling + 2 * 7 + 4 * 2 * 3)
    assert flops["best_of_n_answer"] == flops["weighted_vote_answer"] == pytest.approx(sampling + 2 * 11 + 4 * 2 * 5)
    # The last samples of both questions are wrong.
    assert {row.value for row in rows if row.aggregation == "best_of_n" and row.n == 4} == {0.0}


def test_an_aggregation_without_its_scores_is_refused() -> None:
    records = make_records(ANSWERS)
    outcomes = outcomes_from_records(records, QUESTIONS)
    with pytest.raises(ValueError, match="no scores"):
        rows_of(outcomes, cost_of(records), [1], trial="t", sampler="s", aggregations=["best_of_n"])


def test_costs_add_up_and_scoring_is_only_paid_where_it_is_used() -> None:
    cost = cost_of(with_scores(make_records(ANSWERS)))
    assert cost == Cost(200.0, 40.0, 14.0, 6.0, 0.0, 0.0)
    assert (cost + cost).of(3, "trajectory") == 2 * cost.of(3, "trajectory") == 2 * (200 + 3 * 40 + 14 + 3 * 6)
    assert cost.of(3) == cost.of(3, "answer") == 200 + 3 * 40


def test_a_score_whose_cost_is_unknown_makes_the_cost_unknown() -> None:
    records = with_scores(make_records(ANSWERS))
    unknown = cost_of(records.drop(columns="score_flops"))
    assert np.isnan(unknown.of(1, "trajectory"))
    assert unknown.of(1) == 240.0
    records.loc[0, "score_flops"] = np.nan
    assert np.isnan(cost_of(records).of(1, "trajectory"))
    # A trajectory that was never scored costs the scorer nothing.
    records.loc[0, ["score", "score_prompt_flops"]] = np.nan
    assert cost_of(records).of(1, "trajectory") == pytest.approx(240 + 14 + 3 * 3 / 4 + 3)


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
