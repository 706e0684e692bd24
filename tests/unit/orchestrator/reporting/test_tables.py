"""Tables: every number is there and whole, whatever the width."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from orchestrator.analysis.comparisons import compare_all, greedy_of
from orchestrator.analysis.curves import CurvePoint, CurveRow
from orchestrator.analysis.pareto import Judged
from orchestrator.config.objective import parse_objective
from orchestrator.reporting.tables import print_comparisons, print_objectives, print_tables, render, summary_table

BUDGETS = (1, 2, 4, 8, 16, 32, 64)
NAMES = [f"gaussian sigma={sigma}" for sigma in ("1.0", "0.1", "0.05", "0.4")] + [
    f"mc_dropout p={p} scope=latent sites=ffn+attention" for p in ("0.1", "0.2", "0.3", "0.5")
]


RNG = np.random.default_rng(0)
HARD = RNG.random(300)
BY_QUESTION = {
    "greedy": (HARD < 0.5).astype(float),
    "majority_vote": 0.6 * (1 - HARD),
    "best_of_n": 0.6 * (1 - HARD) + 0.1 * RNG.random(300),
    "beam_search": (HARD < 0.3).astype(float),
}
JUDGED = [
    Judged("cheap", (0.3, 1.0), True),
    Judged("dear", (0.9, 9.0), True),
    Judged("worse", (0.8, 10.0), False),
]
BOTH = (parse_objective("coverage"), parse_objective("flops"))


def make_rows() -> list[CurveRow]:
    """Greedy, eight trials under two aggregations, and guesses; every value is unlike all others."""
    rows = [CurveRow("greedy", "none", "greedy", 1, 0.4, 0.35, 0.45, 10, 1e9)]
    for index, name in enumerate(NAMES):
        for offset, aggregation in ((0.1, "coverage"), (0.5, "majority_vote")):
            for step, n in enumerate(BUDGETS):
                value = offset + index * 0.05 + step * 0.007
                row = CurveRow(
                    name, name.split()[0], aggregation, n, value, value - 0.045, value + 0.045, 10 * n, 1e9 * n
                )
                rows.append(row)
    rows += [CurveRow("random_guess", "random_guess", "random_guess", n, n / 1000, 0, 0.1, 10 * n, 0) for n in BUDGETS]
    return rows


def test_text_holds_every_value_and_interval_within_120_columns() -> None:
    text = render(make_rows())
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for row in make_rows():
        assert re.search(rf"(?<![\d.]){100 * row.value:.1f}(?!\d)", text), row
        assert f"[{100 * row.lo:.1f}, {100 * row.hi:.1f}]" in text, row


def test_greedy_comes_first_then_trials_by_number_then_guesses_under_coverage_only() -> None:
    coverage, majority = render(make_rows()).split("majority vote")
    names = [
        line.split("  ")[0] for line in coverage.splitlines() if re.match(r"\w.*\d\.\d$", line) or "greedy" in line
    ]
    assert names[0] == "greedy"
    assert names[1:5] == [f"gaussian sigma={sigma}" for sigma in ("0.05", "0.1", "0.4", "1.0")]
    assert names[-1] == "random guess"
    assert "greedy" in majority
    assert "random guess" not in majority


@pytest.mark.parametrize("width", [200, 120, 80, 60])
def test_a_narrow_terminal_splits_the_table_instead_of_the_numbers(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_tables(make_rows(), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in make_rows():
        assert f"[{100 * row.lo:.1f}, {100 * row.hi:.1f}]" in text


def test_a_pipe_gets_whole_numbers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    print_tables(make_rows())
    text = capsys.readouterr().out
    assert text.count("sampler setting") == 2
    assert "…" not in text


def test_what_was_not_sampled_is_a_dash() -> None:
    nan = float("nan")
    text = render(
        [CurveRow("t", "s", "coverage", 1, 1, 0.9, 1, 1, 1), CurveRow("t", "s", "coverage", 2, nan, nan, nan, 2, 2)]
    )
    assert re.search(r"^t +100\.0 +-$", text, re.MULTILINE)
    assert "nan" not in text


def test_greedy_alone_has_a_table() -> None:
    assert re.search(r"^greedy +40\.0$", render(make_rows()[:1]), re.MULTILINE)
    assert render([]) == ""


def test_methods_that_use_scores_say_whose() -> None:
    names = ("best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer", "beam_search", "beam_vote")
    text = render([CurveRow("t", "s", name, 6, 0.5, 0.4, 0.6, 6, 6) for name in names])
    titles = re.findall(r"^(.+), % \[95 % interval\]$", text, re.MULTILINE)
    assert titles == [
        "best-of-N (LatentRM)",
        "weighted vote (LatentRM)",
        "best-of-N (answer-aware)",
        "weighted vote (answer-aware)",
        "beam search (LatentRM)",
        "beam search + vote (LatentRM)",
    ]


@pytest.mark.parametrize("width", [120, 80])
def test_the_table_holds_every_number_whole(width: int) -> None:
    name = "gaussian sigma=0.4 [x]"
    points = [CurvePoint(name, "gaussian", aggregation, 16, values, 1.0) for aggregation, values in BY_QUESTION.items()]
    comparisons = compare_all({name: points}, greedy_of(points))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_comparisons(comparisons, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for one in comparisons:
        assert f"{100 * one.difference:+.1f} [{100 * one.lo:+.1f}, {100 * one.hi:+.1f}]" in text
    assert text.count("gaussian sigma=0.4 [x]") == 1
    assert "best-of-N (LatentRM)" in text


def test_nothing_is_printed_where_there_is_nothing() -> None:
    console = Console(file=io.StringIO())
    print_comparisons([], console)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_objectives_are_printed_from_their_best_end() -> None:
    text = io.StringIO()
    print_objectives(JUDGED, BOTH, Console(file=text, width=80))
    assert "Pareto front" in text.getvalue()
    assert text.getvalue().index("dear") < text.getvalue().index("cheap")
    assert "worse" not in text.getvalue()


def test_one_objective_has_one_line() -> None:
    text = io.StringIO()
    print_objectives([Judged("cheap", (0.3,), False), Judged("dear", (0.9,), True)], BOTH[:1], Console(file=text))
    assert "best by objective" in text.getvalue()
    assert "dear " in text.getvalue()
    assert "cheap" not in text.getvalue()


def point(trial: str, aggregation: str, n: int, value: float) -> CurveRow:
    return CurveRow(trial, trial, aggregation, n, value, value - 0.1, value + 0.1, 10, 1e9)


def test_the_best_trial_of_every_way_to_choose() -> None:
    rows = [
        point("greedy", "greedy", 1, 0.4),
        point("a", "coverage", 1, 0.3),
        point("a", "coverage", 4, 0.7),
        point("b", "coverage", 4, 0.6),
        point("b", "majority_vote", 4, 0.5),
        point("b", "majority_vote", 8, float("nan")),
        point("random_guess", "random_guess", 4, 0.99),
    ]
    assert summary_table(rows).replace("\N{EM SPACE}", "").splitlines() == [
        "| | trial | N | % correct [95 % interval] |",
        "|---|---|---|---|",
        "| greedy | greedy | 1 | 40.0 [30.0, 50.0] |",
        "| coverage (pass@N) | a | 4 | 70.0 [60.0, 80.0] |",
        "| majority vote | b | 4 | 50.0 [40.0, 60.0] |",
    ]
