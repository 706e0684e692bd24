"""Exploration dynamics as a picture: a panel per measure over latent steps, a line per sampler setting."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from latent_core.dynamics.dynamics import (
    AUC,
    BETWEEN_THOUGHTS,
    COMPONENTS,
    COSINE_DISTANCE,
    EFFECTIVE_THOUGHTS,
    GREEDY_SHIFT,
    LEAVES,
    ON_PATH,
    RIGHT_OF_LEAVING,
    RIGHT_ON_PATH,
)
from orchestrator.analysis.dynamics_rows import TrialDynamics
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_legend
from orchestrator.reporting.layout import GUESS_COLOUR, TrialStyle, band_opacity, grid, trials
from orchestrator.reporting.plots.png import MARKERS, new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from orchestrator.analysis.curves import CurveRow

_PANEL_INCHES = (4.4, 3.5)
_PANELS_PER_ROW = 4
_LEGEND_ROW_INCHES = 0.22
_LETTER_INCHES, _KEY_INCHES = 0.075, 0.75
_MOST_BARS = 4
"""Settings whose bars fit beside each other."""
# What the shade of a setting says, for those who print it in grey: the last one, which is the darkest, is solid.
_DASHES: Final = ("-", (0, (6, 2)), (0, (6, 2, 1.2, 2)), (0, (1.2, 1.5)))


@dataclass(frozen=True)
class _Measure:
    """A panel: a measure and how it is shown.

    Attributes:
        name: The measure.
        title: The question that it answers.
        label: Of the y axis.
        percent: Whether it is a share, shown in percent.
        reference: A level to compare with, from the dynamics that are shown, and what it is called.
    """

    name: str
    title: str
    label: str
    percent: bool = False
    reference: Callable[[Sequence[TrialDynamics]], tuple[float, str]] | None = None


_PANELS: Final = (
    _Measure(COSINE_DISTANCE, "Diversity: how far apart are two samples?", "mean pairwise cosine distance"),
    _Measure(
        GREEDY_SHIFT,
        "Drift: how far does the sampler's mean\nlie from the greedy path?",
        "|mean - greedy| / |greedy|, noise removed",
    ),
    _Measure(
        COMPONENTS,
        "Directions that hold 90 % of the variance\nwithin questions",
        "principal components",
        reference=lambda shown: (float(max(one.width for one in shown)), "width of the model"),
    ),
    _Measure(
        EFFECTIVE_THOUGHTS,
        "Branches: effective number of decoded\nthought sequences up to this step",
        "exp(entropy)",
    ),
    _Measure(
        BETWEEN_THOUGHTS, "Structure: share of the variance that lies\nbetween different thoughts", "%", percent=True
    ),
    _Measure(ON_PATH, "Samples still on the greedy path", "% of samples", percent=True),
    _Measure(
        RIGHT_OF_LEAVING, "Right among those that leave\nthe greedy path at this step", "% of these", percent=True
    ),
    _Measure(
        AUC,
        "LatentRM: does the score up to this step\ntell right from wrong samples?",
        "AUC within questions",
        reference=lambda _: (0.5, "chance"),
    ),
)


def plot_dynamics_png(dynamics: Sequence[TrialDynamics], rows: "Sequence[CurveRow]", path: Path, title: str) -> None:
    """Draw every measure that is known, with 95 % bands where it has an interval.

    Of a few settings, bars show where samples leave the greedy path, with the share of these that is right above them;
    of many, lines do.

    Args:
        dynamics: The dynamics of the trials, some of them with rows.
        rows: Rows of `curves.csv`, which give each setting the looks that it has in all pictures.
        path: The PNG file to write.
        title: Heading of the picture.
    """
    styles = {style.name: style for style in trials(rows)}
    places = [*styles]
    shown = sorted((one for one in dynamics if one.rows), key=lambda one: places.index(one.trial))
    known = {row.measure for one in shown for row in one.rows}
    has_bars = len(shown) <= _MOST_BARS and LEAVES in known
    panels = [
        one for one in _PANELS if one.name in known and not (has_bars and one.name in (ON_PATH, RIGHT_OF_LEAVING))
    ]
    style = figure_style()
    down, across = grid(len(panels) + has_bars, style.panels_per_row if style.columns else _PANELS_PER_ROW)
    panel_width, panel_height = style.panel(_PANEL_INCHES, across)
    width = panel_width * across
    names = [one.trial for one in shown]
    columns = max(1, int(width / style.text(_KEY_INCHES + _LETTER_INCHES * max(map(len, names)))))
    legend_height = style.text(_LEGEND_ROW_INCHES * math.ceil(len(names) / columns) + 0.3)
    figure = new_figure(width, panel_height * down + legend_height)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _draw_lines(axis, panel, shown, styles)
    if has_bars:
        _draw_departures(axes[len(panels)], shown, styles)
    for axis in axes[len(panels) + has_bars :]:
        axis.remove()
    if style.headings:
        figure.suptitle(title)
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
    save_figure(figure, path)


@register_artifact("dynamics.png", lambda report: any(one.rows for one in report.evaluation.dynamics), place=10)
def _dynamics(report: Report, path: Path) -> None:
    made = report.evaluation
    plot_dynamics_png(made.dynamics, made.rows, path, f"{report.title}: what samples do, step by step")


def _draw_lines(
    axis: "Axes", panel: _Measure, shown: Sequence[TrialDynamics], styles: Mapping[str, TrialStyle]
) -> None:
    factor = 100.0 if panel.percent else 1.0
    for one in shown:
        style = styles[one.trial]
        own = [row for row in one.rows if row.measure == panel.name]
        steps = [row.step for row in own]
        lo, hi = [factor * row.lo for row in own], [factor * row.hi for row in own]
        axis.fill_between(steps, lo, hi, color=style.colour, alpha=band_opacity(len(shown)), lw=0)
        axis.plot(
            steps,
            [factor * row.value for row in own],
            color=style.colour,
            ls=_DASHES[(style.siblings - 1 - style.rank) % len(_DASHES)],
            marker=MARKERS[style.marker],
            ms=4.5,
            lw=1.6,
            label=in_legend(one.trial),
        )
    steps = sorted({row.step for one in shown for row in one.rows})
    if panel.reference is not None:
        level, name = panel.reference(shown)
        axis.axhline(level, color=GUESS_COLOUR, ls=":", lw=1.2)
        axis.annotate(
            name,
            (1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize="x-small",
            color="#555555",
        )
    axis.set_title(panel.title, fontsize="medium", loc="left")
    axis.set_ylabel(panel.label, fontsize="small")
    _finish(axis)
    _mark_steps(axis, steps)
    # Effective numbers begin at one, everything else at nothing; room above for the name of the reference.
    axis.set_ylim(bottom=1.0 if panel.name == EFFECTIVE_THOUGHTS else 0.0, top=axis.get_ylim()[1] * 1.04)


def _draw_departures(axis: "Axes", shown: Sequence[TrialDynamics], styles: Mapping[str, TrialStyle]) -> None:
    steps = sorted({row.step for one in shown for row in one.rows if row.measure == LEAVES})
    wide = 0.8 / len(shown)
    for number, one in enumerate(shown):
        value = {(row.measure, row.step): row.value for row in one.rows}
        shares = [value.get((LEAVES, step), 0.0) for step in steps] + [value.get((ON_PATH, steps[-1]), 0.0)]
        right = [value.get((RIGHT_OF_LEAVING, step)) for step in steps] + [value.get((RIGHT_ON_PATH, steps[-1]))]
        places = [index + wide * (number - (len(shown) - 1) / 2) for index in range(len(shares))]
        style = styles[one.trial]
        heights = [100 * share for share in shares]
        axis.bar(places, heights, 0.92 * wide, color=style.colour, edgecolor="#222222", lw=0.5)
        for place, height, share in zip(places, heights, right, strict=True):
            if share is not None and height > 0:
                text = f"{100 * share:.0f}"
                axis.annotate(
                    text, (place, height), xytext=(0, 2), textcoords="offset points", ha="center", fontsize="x-small"
                )
    axis.set_xticks(range(len(steps) + 1), [*map(str, steps), "never"])
    axis.set_title(
        "Where samples leave the greedy path\n(number: % of these that are right)", fontsize="medium", loc="left"
    )
    axis.set_ylabel("% of samples", fontsize="small")
    _finish(axis)
    axis.set_xlabel("step of the first thought that is not the greedy one", fontsize="small")


def _mark_steps(axis: "Axes", steps: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axis.set_xlim(steps[0] - 0.15, max(steps[-1], steps[0] + 1) + 0.15)


def _finish(axis: "Axes") -> None:
    axis.set_xlabel("latent step", fontsize="small")
    axis.tick_params(labelsize="small")
    axis.grid(axis="y", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
