"""The pictures of diversity and coverage: lines of a sampler, numbers that can be read, a page that stands alone."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis.curves import CurveRow
from orchestrator.analysis.frontier import FrontierRow
from orchestrator.reporting.layout import sampler_looks
from orchestrator.reporting.plots import frontier_png
from orchestrator.reporting.plots.frontier_html import plot_frontier_html
from orchestrator.reporting.plots.frontier_png import line_styles, marks, panels_of, plot_frontier_png


def row(sampler: str, line: str, setting: float, coverage: float, dispersion: float = 0.3) -> FrontierRow:
    answers, single = 1 + 4 * coverage, 0.5 - 0.1 * coverage
    ends = [(value, value - 0.02, value + 0.02) for value in (coverage, answers, dispersion, single)]
    return FrontierRow(f"{line} {setting:g}", sampler, line, setting, 16, *itertools.chain(*ends))


ROWS = [
    *(row("gaussian", "gaussian (sigma)", 0.1 * n, 0.5 + 0.03 * n, 0.1 * n) for n in range(1, 8)),
    *(row("mc_dropout", "mc_dropout (p) a", 0.1 * n, 0.5 + 0.03 * n, 0.1 * n) for n in range(1, 4)),
    *(row("mc_dropout", "mc_dropout (p) <b>", 0.1 * n, 0.51 + 0.03 * n, 0.1 * n) for n in range(1, 4)),
]
CURVES = [CurveRow(one.trial, one.sampler, "coverage", 16, one.coverage, 0.1, 0.9, 16, 1.0) for one in ROWS]
CURVES.append(CurveRow("greedy", "none", "greedy", 1, 0.45, 0.4, 0.5, 1, 1.0))


def test_lines_of_a_sampler_share_its_looks_and_are_numbered() -> None:
    looks = sampler_looks(CURVES)
    assert line_styles(ROWS, looks) == {
        "gaussian (sigma)": (looks["gaussian"], 0),
        "mc_dropout (p) a": (looks["mc_dropout"], 0),
        "mc_dropout (p) <b>": (looks["mc_dropout"], 1),
    }


def test_without_latents_there_is_no_panel_of_their_dispersion() -> None:
    assert [panel.name for panel in panels_of(ROWS)] == ["effective_answers", "dispersion", "single"]
    bare = [row("gaussian", "gaussian", 0.1, 0.5, math.nan)]
    assert [panel.name for panel in panels_of(bare)] == ["effective_answers", "single"]


def test_marks_of_a_logarithmic_axis() -> None:
    assert marks([1.7, 12.0]) == [1.5, 2.0, 3.0, 5.0, 10.0, 15.0]


def test_numbers_lie_neither_on_each_other_nor_on_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    save = frontier_png.save_figure

    def keep(figure: Any, path: Path) -> None:
        save(figure, path)
        figures.append(figure)

    monkeypatch.setattr(frontier_png, "save_figure", keep)
    plot_frontier_png(ROWS, CURVES, tmp_path / "frontier.png", "$a_ and $")
    assert len(figures[0].axes) == 3
    for axis in figures[0].axes:
        numbers = [text for text in axis.texts if text.get_text()]
        assert len(numbers) == len(ROWS)
        boxes = [text.get_window_extent() for text in numbers]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_page_holds_everything_and_takes_names_for_text(tmp_path: Path) -> None:
    plot_frontier_html(ROWS, CURVES, tmp_path / "one.html", "a < b")
    plot_frontier_html(ROWS, CURVES, tmp_path / "two.html", "a < b")
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert "plotly.js" in page
    assert "mc_dropout (p) &lt;b&gt;" in page
    assert "mc_dropout (p) <b>" not in page
