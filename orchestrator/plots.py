"""Curves as pictures: a PNG for papers and trackers, and the HTML page of `plots_html`. Neither needs a display."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from orchestrator.curve_layout import (
    COVERAGE,
    GREEDY_COLOUR,
    GUESS_COLOUR,
    X_LABEL,
    Y_LABEL,
    aggregations,
    band_opacity,
    budgets,
    curve,
    heading,
    trials,
)
from orchestrator.curves import GREEDY, RANDOM_GUESS, CurveRow
from orchestrator.plots_html import plot_curves_html

__all__ = ["plot_curves_html", "plot_curves_png"]

# One shape per sampler: what the hue says, for those who cannot tell hues apart.
_MARKERS = "os^DvPX"
_DPI = 160
_PANEL_INCHES = (5.6, 4.4)
_LEGEND_ROW_INCHES = 0.22
# Room for a letter of the legend, and for the line, marker and gaps beside a name.
_LETTER_INCHES, _KEY_INCHES = 0.075, 0.75


def plot_curves_png(rows: Sequence[CurveRow], path: Path, title: str) -> None:
    """Draw accuracy over N, one panel per aggregation, with 95 % bands.

    Args:
        rows: Rows of `curves.csv`, at least one.
        path: The PNG file to write.
        title: Heading of the picture.

    Raises:
        ValueError: If there are no rows.
    """
    names = aggregations(rows)
    if not names:
        raise ValueError("there is nothing to plot: no rows")
    width = _PANEL_INCHES[0] * len(names)
    entries = ["greedy", "random guess", *(trial.name for trial in trials(rows))]
    legend_columns = max(1, int(width / (_KEY_INCHES + _LETTER_INCHES * max(map(len, entries)))))
    height = _PANEL_INCHES[1] + _LEGEND_ROW_INCHES * math.ceil(len(entries) / legend_columns)
    # A figure of its own, without pyplot: no global state, and no display is ever looked for.
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    legend: dict[str, Artist] = {}
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw_panel(panel, rows, name)
        legend |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside lower center",
        ncols=legend_columns,
        frameon=False,
        fontsize="small",
    )
    figure.savefig(path, format="png")


def _draw_panel(panel: Axes, rows: Sequence[CurveRow], aggregation: str) -> None:
    for greedy in curve(rows, GREEDY):
        panel.axhline(100 * greedy.value, color=GREEDY_COLOUR, ls="--", lw=1.3, label="greedy")
    if aggregation == COVERAGE and (guess := curve(rows, RANDOM_GUESS)):
        n, value = [row.n for row in guess], [100 * row.value for row in guess]
        panel.plot(n, value, color=GUESS_COLOUR, ls=":", lw=1.8, label="random guess")
    shown = trials(rows)
    for trial in shown:
        line, marker = curve(rows, aggregation, trial.name), _MARKERS[trial.family % len(_MARKERS)]
        n, value = [row.n for row in line], [100 * row.value for row in line]
        lo, hi = [100 * row.lo for row in line], [100 * row.hi for row in line]
        panel.fill_between(n, lo, hi, color=trial.colour, alpha=band_opacity(len(shown)), lw=0)
        panel.plot(n, value, color=trial.colour, marker=marker, ms=4.5, lw=1.6, label=trial.name)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(budgets(rows)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.set(title=heading(aggregation), xlabel=X_LABEL, ylabel=Y_LABEL)
    panel.grid(color="#dddddd", lw=0.6)
    panel.spines[["top", "right"]].set_visible(False)
