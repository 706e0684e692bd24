"""The trials of a sweep, judged by its objectives."""

import math
from pathlib import Path

import pandas as pd

from orchestrator.analysis.curves import CurveRow
from orchestrator.analysis.pareto import judge, write_objectives_csv
from orchestrator.config.objective import parse_objective
from orchestrator.names import GREEDY


def row(trial: str, value: float, flops: float, n: int = 4) -> CurveRow:
    return CurveRow(trial, "gaussian", "coverage", n, value, value, value, n, flops * 1e12)


ROWS = [
    row(GREEDY, 1.0, 0.0),
    row("cheap", 0.3, 1.0),
    row("dear", 0.9, 9.0),
    row("dearer and worse", 0.8, 10.0),
    row("twin of cheap", 0.3, 1.0),
    row("stopped", math.nan, 0.5),
]
BOTH = (parse_objective("coverage"), parse_objective("flops"))


def test_the_front_of_two_objectives(tmp_path: Path) -> None:
    judged = judge(ROWS, BOTH)
    assert [one.trial for one in judged if one.best] == ["cheap", "dear", "twin of cheap"]
    write_objectives_csv(judged, BOTH, tmp_path / "objectives.csv")
    table = pd.read_csv(tmp_path / "objectives.csv")
    assert list(table) == ["trial", "coverage", "flops", "pareto"]
    assert table.loc[table["trial"] == "dear", "flops"].item() == 9.0
    assert table["pareto"].sum() == 3


def test_one_objective_has_one_best() -> None:
    judged = judge(ROWS, BOTH[:1])
    assert [one.trial for one in judged if one.best] == ["dear"]
