"""Figures and tables for a paper: as wide as its columns, the same bytes each time, readable without colours."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from latent_core.errors import UserError
from orchestrator.analysis.curves import CurveRow
from orchestrator.jobs.run_reports import paper_of
from orchestrator.reporting.paper import Paper, latex_tables
from orchestrator.reporting.plots import curves_png
from orchestrator.reporting.plots.curves_png import plot_curves_png
from orchestrator.reporting.plots.style import COLUMN_INCHES, SCREEN, Columns, drawn_as, figure_style, paper_style


def rows(*trials: str) -> list[CurveRow]:
    greedy = CurveRow("greedy", "none", "greedy", 1, 0.4, 0.3, 0.5, 10, 1e9)
    return [
        greedy,
        *(
            CurveRow(trial, trial.split()[0], aggregation, n, 0.4 + n / 100, 0.3, 0.6, 10 * n, 1e9 * n)
            for trial in trials
            for aggregation in ("coverage", "majority_vote", "best_of_n")
            for n in (1, 4, 16)
        ),
    ]


TWO = rows("gaussian sigma=0.5", "mc_dropout p=0.1")


@pytest.mark.parametrize("columns", [1, 2])
def test_a_figure_is_as_wide_as_its_columns(columns: Columns, tmp_path: Path) -> None:
    with drawn_as(paper_style(columns)):
        plot_curves_png(TWO, tmp_path / "curves.pdf", "heading")
        plot_curves_png(TWO, tmp_path / "curves.svg", "heading")
    assert figure_style() == SCREEN
    pdf = (tmp_path / "curves.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert box is not None
    # Points of 1/72 inch.
    assert float(box[1]) / 72 == pytest.approx(COLUMN_INCHES[columns], abs=0.02)
    assert float(box[2]) / 72 < 12
    # Outlines of letters, which publishers take, and no date.
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    svg = (tmp_path / "curves.svg").read_text()
    assert "<dc:date>" not in svg
    # The caption says what is shown.
    assert "heading" not in svg


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with drawn_as(paper_style(2)):
            for form in ("pdf", "svg", "png"):
                plot_curves_png(TWO, tmp_path / f"{name}.{form}", "heading")
    for form in ("pdf", "svg", "png"):
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes(), form


def test_curves_are_told_apart_in_grey(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By marker and dash together; lines and texts are finer than on a screen, and no text leaves the page."""
    kept: list[Figure] = []
    save = curves_png.save_figure

    def keep(figure: Figure, path: Path) -> None:
        kept.append(figure)
        save(figure, path)

    monkeypatch.setattr(curves_png, "save_figure", keep)
    names = [f"{kind} x={setting}" for kind in ("gaussian", "mc_dropout", "answer_sampling") for setting in (1, 2, 3)]
    plot_curves_png(rows(*names), tmp_path / "screen.png", "heading")
    with drawn_as(paper_style(1)):
        plot_curves_png(rows(*names), tmp_path / "paper.png", "heading")
    looks = []
    for figure in kept:
        lines = [line for line in figure.axes[0].get_lines() if line.get_marker() != "None"]
        looks.append([(line.get_marker(), str(line._unscaled_dash_pattern)) for line in lines])  # type: ignore[attr-defined]
        assert len(lines) == len(names)
    assert len(set(looks[1])) == len(names)
    screen, paper = (figure.axes[0].get_lines()[-1] for figure in kept)
    assert paper.get_linewidth() < screen.get_linewidth()
    figure = kept[1]
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert (box.x0 > -0.05, box.x1 < width + 0.05, box.y0 > -0.05, box.y1 < height + 0.05) == (True,) * 4


def test_tables_for_latex() -> None:
    nan = float("nan")
    stopped = [CurveRow("a_b & c", "a_b", "coverage", 16, nan, nan, nan, 160, nan)]
    text = latex_tables([*rows("a_b & c")[:3], *stopped])
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"sampler setting & $N=1$ & $N=4$ & $N=16$ \\" in text
    assert r"greedy & \multicolumn{3}{c}{40.0\,{\scriptsize[30.0, 50.0]}} \\" in text
    assert r"a\_b \& c & 41.0\,{\scriptsize[30.0, 60.0]} & 44.0\,{\scriptsize[30.0, 60.0]} & -- \\" in text
    for line in latex_tables(TWO).splitlines():
        assert line.startswith(("%", "\\")) or line.endswith(r"\\") or not line


@pytest.mark.parametrize(
    ("formats", "columns", "message"),
    [("pdf,eps", None, "--format pdf,eps: 'eps' is none of pdf, svg, png"), (None, "1", "--columns 1: how wide")],
)
def test_wrong_options(formats: str | None, columns: str | None, message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        paper_of(formats, columns)


def test_options() -> None:
    assert paper_of(None, None) is None
    assert paper_of("PDF, svg,pdf", None) == Paper(("pdf", "svg"), 2)
    assert paper_of("png", "1") == Paper(("png",), 1)


def test_the_style_of_a_paper_ends_with_its_block() -> None:
    before = dict(mpl.rcParams)
    with drawn_as(paper_style(1)):
        assert mpl.rcParams["font.size"] < before["font.size"]
        assert figure_style().text(1.0) < 1.0
    assert dict(mpl.rcParams) == before
    assert figure_style() == SCREEN
    assert figure_style().text(1.0) == 1.0
