"""Adaptive budgets as a picture: accuracy over mean samples of every rule, beside equal budgets for all questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.analysis.adaptive import ONLINE, AdaptiveRow
from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.adaptive_layout import (
    FIXED_COLOUR,
    FIXED_LABEL,
    X_LABEL_MEAN,
    AdaptivePanel,
    adaptive_panels,
    rule_look,
)
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_legend
from orchestrator.reporting.layout import Y_LABEL, grid, title
from orchestrator.reporting.plots.png import MARKERS, new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_INCHES = (5.4, 4.4)
_LEGEND_INCHES = 0.35


def plot_adaptive_png(rows: Sequence[AdaptiveRow], curves: Sequence[CurveRow], path: Path, heading: str) -> None:
    """Draw a panel per aggregation, of the trial that does best with the most samples there.

    The grey curve gives every question as many samples; a rule is worth its trouble where it lies above. Bars are 95 %
    intervals of the difference from the grey curve at the same mean, drawn about the rule's own points.

    Args:
        rows: Rows of `adaptive.csv`, at least one of them replayed.
        curves: Rows of `curves.csv` of the same trials.
        path: The PNG file to write.
        heading: Heading of the picture.
    """
    shown = adaptive_panels(rows, curves)
    style = figure_style()
    down, across = grid(len(shown), style.panels_per_row)
    width, height = style.panel(_PANEL_INCHES, across)
    figure = new_figure(width * across, height * down + style.text(_LEGEND_INCHES))
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for number, (axis, panel) in enumerate(zip(axes, shown, strict=False)):
        _draw(axis, panel, first=number % across == 0)
    for axis in axes[len(shown) :]:
        axis.remove()
    if style.headings:
        figure.suptitle(f"{heading}: samples where they pay")
    found = [axis.get_legend_handles_labels() for axis in axes[: len(shown)]]
    legend = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        list(legend.values()), list(legend), loc="outside lower center", ncols=5, frameon=False, fontsize="small"
    )
    save_figure(figure, path)


def _was_replayed(report: Report) -> bool:
    return any(row.how != ONLINE for row in report.evaluation.adaptive)


@register_artifact("adaptive.png", _was_replayed, place=14)
def _adaptive(report: Report, path: Path) -> None:
    plot_adaptive_png(report.evaluation.adaptive, report.evaluation.rows, path, report.title)


def _draw(axis: "Axes", panel: AdaptivePanel, *, first: bool) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    n, value = [row.n for row in panel.fixed], [100 * row.value for row in panel.fixed]
    axis.plot(n, value, color=FIXED_COLOUR, lw=2.2, label=FIXED_LABEL)
    for kind, points in panel.rules.items():
        look = rule_look(kind)
        below = [100 * (row.difference - row.difference_lo) for row in points]
        above = [100 * (row.difference_hi - row.difference) for row in points]
        axis.errorbar(
            [row.samples for row in points],
            [100 * row.value for row in points],
            yerr=[below, above],
            color=look.colour,
            marker=MARKERS[look.marker],
            ms=5,
            lw=1.5,
            elinewidth=0.8,
            label=in_legend(kind),
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(n))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set(title=f"{title(panel.aggregation)}\n{panel.trial}", xlabel=X_LABEL_MEAN, ylabel=Y_LABEL if first else "")
    axis.grid(color="#dddddd", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
