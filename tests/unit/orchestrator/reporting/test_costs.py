"""Beam search at its own cost, and a LatentRM that does harm."""

import io

import numpy as np
from rich.console import Console

from orchestrator.analysis.comparisons import compare_all
from orchestrator.analysis.curves import CurvePoint
from orchestrator.reporting.costs import beam_table, warnings
from orchestrator.reporting.titled_table import titled_table

HALF = np.array([0.0, 1.0] * 50)
GREEDY = CurvePoint("greedy", "none", "greedy", 1, np.array([0.0, 1.0, 1.0, 1.0] * 25), 1e11)


def point(aggregation: str, n: int, value: float, flops: float) -> CurvePoint:
    return CurvePoint("gaussian x=1", "gaussian", aggregation, n, HALF * 2 * value, flops)


POINTS = [
    point("majority_vote", 4, 0.4, 4e11),
    point("majority_vote", 8, 0.4, 8e11),
    point("best_of_n", 4, 0.2, 4e11),
    point("best_of_n", 8, 0.3, 8e11),
    point("beam_search", 8, 0.28, 6e11),
]


def test_a_beam_search_stands_beside_best_of_n_at_equal_n_and_equal_flops() -> None:
    found = beam_table([one.row() for one in POINTS], compare_all({"gaussian x=1": POINTS}))
    assert found is not None
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(found)
    line = console.file.getvalue().splitlines()[-1].split()  # type: ignore[attr-defined]
    # 100 questions: 6e11 FLOPs are 6 GFLOPs each, for which there are six samples.
    assert " ".join(line).startswith("gaussian x=1 8 28.0 at 6 30.0 at 8 25.0 (N = 6) +3.0 [")


def test_names_in_titles_are_text() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    table = titled_table("a [red]b[/red] [/c]")
    table.add_column("one", min_width=40)
    console.print(table)
    assert console.file.getvalue().splitlines()[0].strip() == "a [red]b[/red] [/c]"  # type: ignore[attr-defined]


def test_without_a_beam_search_there_is_no_such_table() -> None:
    assert beam_table([one.row() for one in POINTS[:4]], compare_all({"gaussian x=1": POINTS[:4]})) is None
    assert beam_table([POINTS[-1].row()], []) is None


def test_a_latent_rm_that_is_worse_than_greedy_decoding_is_called_so() -> None:
    [said] = warnings(compare_all({"gaussian x=1": POINTS}, GREEDY))
    # Majority vote is no fault of a LatentRM, and beam search has a table of its own.
    assert said.startswith("gaussian x=1: choosing by the LatentRM is worse than greedy decoding at N = 8, by points: ")
    assert "best-of-N (LatentRM) 45.0 [" in said
    assert "vote" not in said
    better = [point("best_of_n", 8, 0.5, 8e11)]
    worse_greedy = CurvePoint("greedy", "none", "greedy", 1, HALF * 0.2, 1e11)
    assert list(warnings(compare_all({"gaussian x=1": better}, worse_greedy))) == []
