"""Two objectives of a sweep as a picture: every trial a point, and the front that no trial is beyond."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.analysis.pareto import Judged
from orchestrator.config.objective import Objective
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.plots.png import new_figure, save_figure
from orchestrator.reporting.plots.style import figure_style

_INCHES = (7.2, 5.0)
_FRONT, _OTHERS = "#0072b2", "#999999"


def plot_pareto_png(judged: Sequence[Judged], objectives: Sequence[Objective], path: Path, title: str) -> None:
    """Draw the trials by two objectives, a cost along the x axis if there is one.

    Args:
        judged: The trials.
        objectives: The two objectives.
        path: The PNG file to write.
        title: Heading of the picture.
    """
    # Costs are what curves are drawn over everywhere else.
    x, y = (1, 0) if objectives[1].mode == "min" else (0, 1)
    style = figure_style()
    figure = new_figure(*style.panel(_INCHES, 1))
    axis = figure.subplots()
    others = [one for one in judged if not one.best]
    front = sorted((one for one in judged if one.best), key=lambda one: one.values[x])
    axis.scatter([one.values[x] for one in others], [one.values[y] for one in others], color=_OTHERS, s=24, zorder=2)
    axis.plot([one.values[x] for one in front], [one.values[y] for one in front], "o-", color=_FRONT, ms=6, lw=1.4)
    for one in front:
        place = (one.values[x], one.values[y])
        axis.annotate(one.trial, place, xytext=(5, -11), textcoords="offset points", fontsize="x-small", color=_FRONT)
    axis.margins(x=0.18, y=0.12)
    axis.set(
        xlabel=objectives[x].label, ylabel=objectives[y].label, title=f"{title}: Pareto front" if style.headings else ""
    )
    axis.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4))
    axis.grid(color="#dddddd", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _has_front(report: Report) -> bool:
    return len(report.evaluation.objectives) == 2 and bool(report.evaluation.judged)


@register_artifact("pareto.png", _has_front, place=8)
def _front(report: Report, path: Path) -> None:
    plot_pareto_png(report.evaluation.judged, report.evaluation.objectives, path, report.title)
