"""Runs beside each other: what trials are called, what the picture shows, and the headline."""

import math
from dataclasses import replace

import pytest

from orchestrator.analysis.curves import CurveRow
from orchestrator.analysis.run_comparisons import RunPoints
from orchestrator.reporting.compare_runs import ReportedRun, figure_rows, named_rows, summary_table, title_of
from orchestrator.reporting.layout import trials


def row(trial: str, aggregation: str, n: int, value: float) -> CurveRow:
    sampler = {"greedy": "none", "random_guess": "random_guess"}.get(trial, trial.split()[0])
    return CurveRow(trial, sampler, aggregation, n, value, value, value, 10 * n, 100.0 * n)


def run(name: str, *rows: CurveRow, **changes: object) -> ReportedRun:
    made = ReportedRun(name, "model", "abc", "task", ("def", 10), rows, RunPoints(name, (), {}))
    return replace(made, **changes)  # type: ignore[arg-type]


GREEDY = row("greedy", "greedy", 1, 0.4)
A = run("a", GREEDY, row("gaussian x", "coverage", 1, 0.4), row("gaussian x", "coverage", 4, 0.7))
B = run("b", GREEDY, row("gaussian x", "coverage", 1, 0.5), row("gaussian x", "coverage", 2, 0.6))


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "a and b: model on task"),
        ({"checkpoint_fingerprint": "xyz"}, "a and b: different checkpoints on task"),
        # The first ten questions of a task are others than the first twenty.
        ({"asked": ("def", 20)}, "a and b: model on different questions"),
        ({"cut_answers": "vote"}, "a and b: model on task, cut answers counted differently"),
    ],
)
def test_the_title_says_what_differs(changes: dict[str, object], title: str) -> None:
    other = replace(B, **changes)  # type: ignore[arg-type]
    assert title_of([A, other]) == title


def test_a_title_of_many_runs_stays_short() -> None:
    runs = [replace(A, name=name) for name in "abcdef"]
    assert title_of(runs) == "a, b and 4 more: model on task"


def test_curves_of_different_runs_differ_in_name_and_colour() -> None:
    rows = figure_rows([A, B])
    shown = trials(rows)
    assert [one.name for one in shown] == ["a: gaussian x", "b: gaussian x"]
    assert len({one.colour for one in shown}) == 2


def test_greedy_decoding_that_all_share_stays_one_line() -> None:
    assert [one.trial for one in figure_rows([A, B]) if one.aggregation == "greedy"] == ["greedy"]


def test_greedy_decoding_and_guesses_that_differ_become_trials() -> None:
    guess = row("random_guess", "random_guess", 1, 0.1)
    other = run("b", replace(GREEDY, value=0.3), *B.rows[1:], replace(guess, value=0.2), checkpoint_fingerprint="xyz")
    rows = figure_rows([run("a", *A.rows, guess), other])
    assert not [one for one in rows if one.aggregation in ("greedy", "random_guess")]
    points = {(one.trial, one.n): one.value for one in rows if one.aggregation == "coverage"}
    assert points["a: greedy", 1] == 0.4
    assert points["b: greedy", 1] == 0.3
    assert points["b: random_guess", 1] == 0.2


def test_guesses_of_the_same_questions_at_other_budgets_are_one_curve() -> None:
    first = [row("random_guess", "random_guess", n, n / 10) for n in (1, 4)]
    second = [row("random_guess", "random_guess", n, n / 10) for n in (1, 2)]
    rows = figure_rows([run("a", *A.rows, *first), run("b", *B.rows, *second)])
    assert sorted(one.n for one in rows if one.aggregation == "random_guess") == [1, 2, 4]


def test_every_row_is_named_after_its_run() -> None:
    named = named_rows([A, run("b", row("mc_dropout p", "coverage", 1, 0.5))])
    assert [(name, one.trial) for name, one in named] == [
        ("a", "greedy"),
        ("a", "gaussian x"),
        ("a", "gaussian x"),
        ("b", "mc_dropout p"),
    ]


def cells(runs: list[ReportedRun]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary_table(runs).splitlines()[2:]]


def test_the_headline_is_at_the_largest_budget_that_all_have() -> None:
    stopped = run("c", row("gaussian y", "coverage", 1, 0.2), row("gaussian z", "coverage", 1, 0.3))
    unknown = replace(stopped, rows=[*stopped.rows, row("gaussian y", "coverage", 4, math.nan)])
    assert cells([A, unknown]) == [
        ["greedy", "1", "a", "greedy", "40.0 [40.0, 40.0]", "10"],
        ["coverage (pass@N)", "1", "a", "gaussian x", "40.0 [40.0, 40.0]", "10"],
        ["coverage (pass@N)", "1", "c", "gaussian z", "30.0 [30.0, 30.0]", "10"],
    ]


def test_no_budget_in_common() -> None:
    one, other = (run(name, row("gaussian x", "beam_search", n, 0.5)) for name, n in (("a", 4), ("b", 16)))
    [line] = cells([one, other])
    assert line[:3] == ["beam search (LatentRM)", "-", "a, b"]
    assert "no budget in common" in line
