"""Diversity against coverage as a picture: a line per sampler through its settings, a point per setting."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latent_core.selection.aggregations import Look
from orchestrator.analysis.frontier import FrontierRow
from orchestrator.names import GREEDY
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_legend, without_formulas
from orchestrator.reporting.layout import GREEDY_COLOUR, curve, grid, sampler_looks, trial_colours
from orchestrator.reporting.plots.png import MARKERS, fit_texts, new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from orchestrator.analysis.curves import CurveRow

_PANEL_INCHES = (5.2, 4.6)
_LEGEND_ROW_INCHES = 0.22
_LETTER_INCHES, _KEY_INCHES = 0.075, 0.75
_DASHES: Final = ("-", (0, (6, 2)), (0, (1.2, 1.5)), (0, (6, 2, 1.2, 2)))


@dataclass(frozen=True)
class FrontierPanel:
    """A panel of the picture: what stands along its x axis.

    Attributes:
        name: Attribute of `FrontierRow`, whose ends are `name_lo` and `name_hi`.
        title: The question that it answers.
        label: Of the x axis; "{n}" stands for the samples per question.
        factor: What values are multiplied by.
        logarithmic: Whether the axis is.
        backwards: Whether larger is to the left.
    """

    name: str
    title: str
    label: str
    factor: float = 1.0
    logarithmic: bool = False
    backwards: bool = False


PANELS: Final = (
    FrontierPanel(
        "effective_answers",
        "What diversity of answers buys",
        "effective number of answers among {n}, exp(entropy)",
        logarithmic=True,
    ),
    FrontierPanel("dispersion", "What dispersion of latents buys", "mean pairwise cosine distance of the last latents"),
    FrontierPanel(
        "single", "What it costs a single sample", "accuracy of a single sample, %", factor=100.0, backwards=True
    ),
)


def panels_of(rows: Sequence[FrontierRow]) -> list[FrontierPanel]:
    """Return the panels for which there are values."""
    return [panel for panel in PANELS if any(not math.isnan(getattr(row, panel.name)) for row in rows)]


def line_styles(rows: Sequence[FrontierRow], looks: Mapping[str, Look]) -> dict[str, tuple[Look, int]]:
    """Return, by the name of a line, the looks of its sampler, and which of the sampler's lines it is."""
    found: dict[str, tuple[Look, int]] = {}
    for row in rows:
        if row.line not in found:
            found[row.line] = looks[row.sampler], sum(look == looks[row.sampler] for look, _ in found.values())
    return found


def plot_frontier_png(rows: Sequence[FrontierRow], curves: "Sequence[CurveRow]", path: Path, title: str) -> None:
    """Draw coverage against effective answers, against dispersion of latents, and against a single sample's accuracy.

    Args:
        rows: Rows of `frontier.csv`, at least one.
        curves: Rows of `curves.csv`, which give each setting the looks that it has in all pictures.
        path: The PNG file to write.
        title: Heading of the picture.
    """
    shown, styles = panels_of(rows), line_styles(rows, sampler_looks(curves))
    style = figure_style()
    down, across = grid(len(shown), style.panels_per_row)
    panel_width, panel_height = style.panel(_PANEL_INCHES, across)
    width = panel_width * across
    columns = max(1, int(width / style.text(_KEY_INCHES + _LETTER_INCHES * max(map(len, styles)))))
    legend_height = style.text(_LEGEND_ROW_INCHES) * math.ceil((len(styles) + 1) / columns)
    figure = new_figure(width, panel_height * down + legend_height)
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axis, panel in zip(axes, shown, strict=True):
        _draw_panel(axis, panel, rows, styles, curves)
    for axis in axes[::across]:
        axis.set_ylabel(f"coverage at {rows[0].n}, % of questions")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        handlelength=3.6,
    )
    if style.headings:
        figure.suptitle(title)
    # Where a name has room is known once everything else has its place.
    without_formulas(figure)
    fit_texts(figure)
    figure.draw_without_rendering()
    for axis, panel in zip(axes, shown, strict=True):
        _name_points(axis, panel, rows, styles)
    save_figure(figure, path)


@register_artifact("frontier.png", lambda report: bool(report.evaluation.frontier), place=12)
def _frontier(report: Report, path: Path) -> None:
    made = report.evaluation
    plot_frontier_png(made.frontier, made.rows, path, f"{report.title}: diversity and coverage")


def _draw_panel(
    axis: "Axes",
    panel: FrontierPanel,
    rows: Sequence[FrontierRow],
    styles: Mapping[str, tuple[Look, int]],
    curves: "Sequence[CurveRow]",
) -> None:
    colours = trial_colours(curves)
    for greedy in curve(curves, GREEDY):
        axis.axhline(100 * greedy.value, color=GREEDY_COLOUR, ls=(0, (6, 2)), lw=1.3, label="greedy")
    for line, (look, number) in styles.items():
        own = [row for row in rows if row.line == line]
        x, y = [_x(panel, row) for row in own], [100 * row.coverage for row in own]
        below = [100 * max(0.0, row.coverage - row.coverage_lo) for row in own]
        above = [100 * max(0.0, row.coverage_hi - row.coverage) for row in own]
        axis.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=look.colour, elinewidth=0.8, alpha=0.45)
        dashes = _DASHES[number % len(_DASHES)]
        axis.plot(x, y, color=look.colour, ls=dashes, lw=1.5, zorder=2)
        for row, place, value in zip(own, x, y, strict=True):
            axis.plot(
                [place],
                [value],
                MARKERS[look.marker],
                color=colours[row.trial],
                mfc="white" if number else colours[row.trial],
                mec=colours[row.trial],
                ms=7,
                zorder=3,
            )
        axis.plot(
            [],
            [],
            color=look.colour,
            ls=dashes,
            marker=MARKERS[look.marker],
            mfc="white" if number else look.colour,
            ms=6,
            label=in_legend(line),
        )
    if panel.logarithmic:
        axis.set_xscale("log")
        _mark_numbers(axis, [_x(panel, row) for row in rows])
    axis.margins(x=0.12, y=0.08)
    if panel.backwards:
        axis.invert_xaxis()
    axis.set_title(panel.title, loc="left", fontsize="medium")
    axis.set_xlabel(panel.label.format(n=rows[0].n))
    axis.tick_params(labelleft=True)
    axis.grid(color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _mark_numbers(axis: "Axes", values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.xaxis.set_major_locator(FixedLocator(marks(values)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")


def marks(values: Sequence[float]) -> list[float]:
    """Return 1, 1.5, 2, 3 and 5 times the powers of ten about values; libraries mark those powers alone."""
    least, most = min(values), max(values)
    numbers = [factor * 10.0**power for power in range(4) for factor in (1, 1.5, 2, 3, 5)]
    return [one for one in numbers if least / 1.3 <= one <= most * 1.3]


def _x(panel: FrontierPanel, row: FrontierRow) -> float:
    return panel.factor * float(getattr(row, panel.name))


_LETTER, _HEIGHT = 5.2, 9.0
"""Size of a letter of a point's name, in points."""
_PLACES: Final = tuple(
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in (12, 18, 25)
    for angle in (-40, 40, 140, -140, 0, 180, 90, -90)
)


def _name_points(
    axis: "Axes", panel: FrontierPanel, rows: Sequence[FrontierRow], styles: Mapping[str, tuple[Look, int]]
) -> None:
    """Write the number of each setting beside its point, where nothing else is."""
    scale = 72.0 / axis.figure.dpi
    points = {}
    for row in rows:
        if not math.isnan(_x(panel, row)):
            x, y = axis.transData.transform((_x(panel, row), 100 * row.coverage))
            points[row.trial] = (scale * float(x), scale * float(y))
    taken = [(x, y, 9.0, 9.0) for x, y in points.values()] + _along(points, rows)
    for row in rows:
        if row.trial not in points or math.isnan(row.setting):
            continue
        text = f"{row.setting:g}"
        x, y = points[row.trial]
        size = (_LETTER * len(text), _HEIGHT)
        offsets = [(dx + math.copysign(size[0] / 2 - 3, dx) if abs(dx) > 1 else dx, dy) for dx, dy in _PLACES]
        worst = {offset: _overlap((x + offset[0], y + offset[1], *size), taken) for offset in offsets}
        offset = min(offsets, key=lambda one: worst[one])
        taken.append((x + offset[0], y + offset[1], *size))
        axis.annotate(
            text,
            (_x(panel, row), 100 * row.coverage),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize="small",
            color=styles[row.line][0].colour,
            zorder=4,
        )


def _along(
    points: Mapping[str, tuple[float, float]], rows: Sequence[FrontierRow]
) -> list[tuple[float, float, float, float]]:
    """Return small boxes along the lines between points."""
    boxes = []
    for before, after in itertools.pairwise(rows):
        if before.line == after.line and before.trial in points and after.trial in points:
            (x, y), (u, v) = points[before.trial], points[after.trial]
            count = max(2, int(math.hypot(u - x, v - y) / 4))
            boxes += [(x + (u - x) * i / count, y + (v - y) * i / count, 2.0, 2.0) for i in range(1, count)]
    return boxes


def _overlap(box: tuple[float, float, float, float], others: Sequence[tuple[float, float, float, float]]) -> float:
    """Return the area that a box (centre and size) shares with others."""
    x, y, width, height = box
    total = 0.0
    for u, v, wide, high in others:
        across = min(x + width / 2, u + wide / 2) - max(x - width / 2, u - wide / 2)
        up = min(y + height / 2, v + high / 2) - max(y - height / 2, v - high / 2)
        total += max(0.0, across) * max(0.0, up)
    return total
