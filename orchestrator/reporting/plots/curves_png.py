"""Curves as a PNG for papers and trackers. Drawing needs no display."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.analysis.curves import CurveRow
from orchestrator.names import GREEDY
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_legend
from orchestrator.reporting.layout import (
    GREEDY_COLOUR,
    GUESS_COLOUR,
    X_LABEL,
    Y_LABEL,
    Panel,
    band_opacity,
    curve,
    grid,
    panels,
    ticks,
)
from orchestrator.reporting.plots.png import MARKERS, new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_PANEL_INCHES = (5.6, 4.4)
# A panel that stands alone has to hold every curve.
_LONE_PANEL_INCHES = (7.2, 5.0)
_LEGEND_ROW_INCHES = 0.22
_DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
# Room for a letter of the legend, and for the line, marker and gaps beside a name.
_LETTER_INCHES, _KEY_INCHES = 0.075, 0.75


def plot_curves_png(rows: Sequence[CurveRow], path: Path, title: str) -> None:
    """Draw accuracy over N with 95 % bands: a panel per aggregation, or one panel where there is a single setting.

    All panels share the ranges of both axes.

    Args:
        rows: Rows of `curves.csv`, at least one.
        path: The PNG file to write.
        title: Heading of the picture.

    Raises:
        ValueError: If there are no rows.
    """
    shown = panels(rows)
    if not shown:
        raise ValueError("there is nothing to plot: no rows")
    style = figure_style()
    down, across = grid(len(shown), style.panels_per_row)
    panel_width, panel_height = style.panel(_LONE_PANEL_INCHES if len(shown) == 1 else _PANEL_INCHES, across)
    width = panel_width * across
    entries = ["greedy", "random guess", *dict.fromkeys(line.label for panel in shown for line in panel.lines)]
    legend_columns = max(1, int(width / style.text(_KEY_INCHES + _LETTER_INCHES * max(map(len, entries)))))
    height = panel_height * down + style.text(_LEGEND_ROW_INCHES) * math.ceil(len(entries) / legend_columns)
    figure = new_figure(width, height, hspace=0.05)
    legend: dict[str, Artist] = {}
    # The same x range too: the points of a beam search stand where the samples that cost as much do.
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for number, (axis, panel) in enumerate(zip(axes, shown, strict=False)):
        _draw_panel(axis, panel, rows, first_in_row=number % across == 0)
        legend |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    for axis in axes[len(shown) :]:
        axis.remove()
    if style.headings and len(shown) == 1:
        axes[0].set_title(f"{title}\n{shown[0].title}")
    elif style.headings:
        figure.suptitle(title)
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=legend_columns,
        frameon=False,
        fontsize="small",
        handlelength=3.2,
    )
    save_figure(figure, path)


@register_artifact("curves.png", place=1)
def _curves(report: Report, path: Path) -> None:
    plot_curves_png(report.evaluation.rows, path, report.title)


def _draw_panel(axis: "Axes", panel: Panel, rows: Sequence[CurveRow], *, first_in_row: bool) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    for greedy in curve(rows, GREEDY):
        axis.axhline(100 * greedy.value, color=GREEDY_COLOUR, ls=(0, (6, 2)), lw=1.3, label="greedy")
    if panel.guess:
        n, value = [row.n for row in panel.guess], [100 * row.value for row in panel.guess]
        axis.plot(n, value, color=GUESS_COLOUR, ls=":", lw=1.8, label="random guess")
    dashes = itertools.cycle(_DASHES if figure_style().dashes else _DASHES[:1])
    for line in panel.lines:
        n, value = [row.n for row in line.rows], [100 * row.value for row in line.rows]
        lo, hi = [100 * row.lo for row in line.rows], [100 * row.hi for row in line.rows]
        axis.fill_between(n, lo, hi, color=line.colour, alpha=band_opacity(len(panel.lines)), lw=0)
        axis.plot(
            n,
            value,
            color=line.colour,
            ls="--" if line.dashed else next(dashes),
            marker=MARKERS[line.marker],
            mfc="white" if line.dashed else line.colour,
            ms=4.5,
            lw=1.6,
            label=in_legend(line.label),
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(ticks(rows)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set(title=panel.title, xlabel=X_LABEL, ylabel=Y_LABEL if first_in_row else "")
    axis.tick_params(labelbottom=True)
    axis.grid(color="#dddddd", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
