"""Accuracy by difficulty as a picture: a panel per aggregation, the bins side by side."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.analysis.difficulty import BINS, NOTE, DifficultyRow, best_trial
from orchestrator.names import GREEDY
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.layout import GREEDY_COLOUR, Y_LABEL, grid, title
from orchestrator.reporting.plots.png import new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_INCHES = (5.2, 3.9)
_CAPTION_LETTERS_PER_INCH = 15
# Points of one bin stand beside each other.
_SHIFT = 0.18
_FEWEST, _MOST = "#56b4e9", "#0072b2"


def plot_difficulty_png(rows: Sequence[DifficultyRow], path: Path, title: str) -> None:
    """Draw, for the best trial of every aggregation, its smallest and its largest budget in every bin.

    Greedy decoding on the same questions stands beside them. Bins are told apart by position, not by colour; the
    number of questions in a bin stands below its name.

    Args:
        rows: Rows of `difficulty.csv`, at least one.
        path: The PNG file to write.
        title: Heading of the picture.
    """
    names = [name for name in dict.fromkeys(row.aggregation for row in rows) if name != GREEDY]
    style = figure_style()
    # Six bins with their names need room.
    down, across = grid(len(names), min(style.panels_per_row, 2) if style.columns else style.panels_per_row)
    panel_width, panel_height = style.panel(_PANEL_INCHES, across)
    width = panel_width * across
    figure = new_figure(width, panel_height * down + style.text(1.0))
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        trial = best_trial(rows, name)
        _draw_panel(axis, [row for row in rows if row.trial == trial], name, str(trial))
        axis.set_ylabel(Y_LABEL if number % across == 0 else "")
    for axis in axes[len(names) :]:
        axis.remove()
    if style.headings:
        figure.suptitle(f"{title}: by difficulty")
    letters = int(_CAPTION_LETTERS_PER_INCH * width / style.texts)
    figure.supxlabel(textwrap.fill(NOTE, letters), fontsize="small", color="#555555")
    save_figure(figure, path)


@register_artifact("difficulty.png", lambda report: bool(report.evaluation.difficulties), place=6)
def _difficulty(report: Report, path: Path) -> None:
    plot_difficulty_png(report.evaluation.difficulties, path, report.title)


def _draw_panel(axis: "Axes", rows: Sequence[DifficultyRow], aggregation: str, trial: str) -> None:
    own = [row for row in rows if row.aggregation == aggregation]
    fewest, most = min(row.n for row in own), max(row.n for row in own)
    _draw_points(axis, [row for row in rows if row.aggregation == GREEDY], -_SHIFT, GREEDY_COLOUR, "x", "greedy")
    if fewest < most:
        _draw_points(axis, [row for row in own if row.n == fewest], 0.0, _FEWEST, "o", f"N = {fewest}")
    _draw_points(axis, [row for row in own if row.n == most], _SHIFT, _MOST, "s", f"N = {most}")
    counts = {row.difficulty: row.questions for row in own}
    axis.set_xticks(range(len(BINS)), [f"{name}\n{counts.get(name, 0):,}" for name in BINS], fontsize="small")
    if figure_style().columns is not None:
        axis.tick_params(axis="x", labelrotation=25)
    axis.set(title=f"{title(aggregation)}\n{trial}", ylim=(-4, 104), xlim=(-0.5, len(BINS) - 0.5))
    axis.set_xlabel("share of samples that is right, and number of questions", fontsize="small")
    axis.grid(axis="y", color="#dddddd", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small", loc="upper left" if figure_style().columns is None else "best")


def _draw_points(
    axis: "Axes", rows: Sequence[DifficultyRow], shift: float, colour: str, marker: str, label: str
) -> None:
    if not rows:
        return
    places = [BINS.index(row.difficulty) + shift for row in rows]
    below = [100 * max(0.0, row.value - row.lo) for row in rows]
    above = [100 * max(0.0, row.hi - row.value) for row in rows]
    values = [100 * row.value for row in rows]
    axis.errorbar(places, values, yerr=[below, above], fmt=marker, color=colour, ms=5, lw=1.2, capsize=2, label=label)
