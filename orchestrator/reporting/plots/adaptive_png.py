"""Adaptive budgets as a picture: accuracy over mean samples of every rule, beside equal budgets for all questions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latent_core.selection.aggregations import Look
from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_legend
from orchestrator.reporting.layout import Y_LABEL, curve, grid, title
from orchestrator.reporting.plots.png import MARKERS, new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_INCHES = (5.4, 4.4)
_LEGEND_INCHES = 0.35
_FIXED_COLOUR = "#555555"
_LOOKS: Final[Mapping[str, Look]] = {
    "gain": Look("#009e73", "triangle-up"),
    "posterior": Look("#0072b2", "circle"),
    "anytime": Look("#cc79a7", "diamond"),
    "decided": Look("#d55e00", "square"),
}
_OTHER = Look("#e69f00", "triangle-down")


def plot_adaptive_png(rows: Sequence[AdaptiveRow], curves: Sequence[CurveRow], path: Path, heading: str) -> None:
    """Draw a panel per aggregation, of the trial that does best with the most samples there.

    The grey curve gives every question as many samples; a rule is worth its trouble where it lies above. Bars are 95 %
    intervals of the difference from the grey curve at the same mean, drawn about the rule's own points.

    Args:
        rows: Rows of `adaptive.csv`, at least one.
        curves: Rows of `curves.csv` of the same trials.
        path: The PNG file to write.
        heading: Heading of the picture.
    """
    names = list(dict.fromkeys(row.aggregation for row in rows))
    style = figure_style()
    down, across = grid(len(names), style.panels_per_row)
    width, height = style.panel(_PANEL_INCHES, across)
    figure = new_figure(width * across, height * down + style.text(_LEGEND_INCHES))
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        _draw(axis, [row for row in rows if row.aggregation == name], curves, name, first=number % across == 0)
    for axis in axes[len(names) :]:
        axis.remove()
    if style.headings:
        figure.suptitle(f"{heading}: samples where they pay")
    found = [axis.get_legend_handles_labels() for axis in axes[: len(names)]]
    legend = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        list(legend.values()), list(legend), loc="outside lower center", ncols=5, frameon=False, fontsize="small"
    )
    save_figure(figure, path)


@register_artifact("adaptive.png", lambda report: bool(report.evaluation.adaptive), place=14)
def _adaptive(report: Report, path: Path) -> None:
    plot_adaptive_png(report.evaluation.adaptive, report.evaluation.rows, path, report.title)


def _draw(axis: "Axes", rows: Sequence[AdaptiveRow], curves: Sequence[CurveRow], name: str, *, first: bool) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    fixed_of = {trial: curve(curves, name, trial) for trial in dict.fromkeys(row.trial for row in rows)}
    trial = max(fixed_of, key=lambda one: max((row.value for row in fixed_of[one]), default=0.0))
    own = [row for row in rows if row.trial == trial]
    # Rules begin with a first wave; what fewer samples come to says nothing of them.
    least, most = min(row.samples for row in own), max(row.horizon for row in own)
    fixed = [row for row in fixed_of[trial] if least / 2 < row.n <= most]
    n, value = [row.n for row in fixed], [100 * row.value for row in fixed]
    axis.plot(n, value, color=_FIXED_COLOUR, lw=2.2, label="as many for every question")
    for kind in dict.fromkeys(row.rule.split()[0] for row in own):
        points = sorted((row for row in own if row.rule.split()[0] == kind), key=lambda row: row.samples)
        style = _LOOKS.get(kind, _OTHER)
        below = [100 * (row.difference - row.difference_lo) for row in points]
        above = [100 * (row.difference_hi - row.difference) for row in points]
        axis.errorbar(
            [row.samples for row in points],
            [100 * row.value for row in points],
            yerr=[below, above],
            color=style.colour,
            marker=MARKERS[style.marker],
            ms=5,
            lw=1.5,
            elinewidth=0.8,
            label=in_legend(kind),
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator([row.n for row in fixed]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set(title=f"{title(name)}\n{trial}", xlabel="mean samples per question", ylabel=Y_LABEL if first else "")
    axis.grid(color="#dddddd", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
