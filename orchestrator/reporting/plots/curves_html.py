"""Curves as one HTML page that needs no network: details under the pointer, and N or FLOPs as the x axis."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.curves import CurveRow
from orchestrator.names import GREEDY
from orchestrator.reporting.adaptive_layout import (
    FIXED_COLOUR,
    FIXED_LABEL,
    X_LABEL_MEAN,
    AdaptivePanel,
    adaptive_panels,
    rule_look,
)
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_html
from orchestrator.reporting.layout import (
    GREEDY_COLOUR,
    GUESS_COLOUR,
    X_LABEL,
    Y_LABEL,
    Line,
    Panel,
    band_opacity,
    curve,
    grid,
    panels,
    ticks,
)
from orchestrator.reporting.layout import title as aggregation_title

if TYPE_CHECKING:
    import plotly.graph_objects as go

_X_LABEL_FLOPS = "FLOPs over all questions"
# Heights in pixels: of the axes of a row of panels, between rows, above the first one (title and buttons), below.
_ROW, _BETWEEN, _ABOVE, _BELOW = 400, 110, 120, 80
_RULE_HOVER = (
    "<b>%{customdata[0]}</b><br>%{x:.1f} samples in the mean, %{customdata[1]:.1f} waves<br>%{y:.1f} % "
    "[%{customdata[2]:.1f}, %{customdata[3]:.1f}]<br>%{customdata[4]:+.1f} [%{customdata[5]:+.1f}, "
    "%{customdata[6]:+.1f}] against as many for every question<br>%{customdata[7]:.2e} FLOPs<extra></extra>"
)
_HOVER = (
    "<b>%{fullData.name}</b><br>N = %{customdata[0]}<br>%{y:.1f} % "
    "[%{customdata[1]:.1f}, %{customdata[2]:.1f}]<br>%{customdata[3]:,} trajectories<br>"
    "%{customdata[4]:.2e} FLOPs<extra></extra>"
)


class _Drawn(NamedTuple):
    """A trace and its two possible x coordinates, between which the page switches."""

    trace: "go.Scatter"
    by_samples: Sequence[float | None]
    by_flops: Sequence[float | None]


class _Axes(NamedTuple):
    """One pair of axes: what stands above it, what is in it, and what x says."""

    title: str
    traces: list[_Drawn]
    x_label: str = X_LABEL


def plot_curves_html(rows: Sequence[CurveRow], path: Path, title: str, adaptive: Sequence[AdaptiveRow] = ()) -> None:
    """Write a page with a panel per aggregation, or with one panel where there is a single sampler setting.

    Where rules were replayed, a panel per aggregation follows with the accuracy of each over its mean samples. The page
    holds everything it needs, the plotting library included (some 5 MB). All panels share the ranges of both axes.

    Args:
        rows: Rows of `curves.csv`, at least one.
        path: The HTML file to write.
        title: Heading of the page.
        adaptive: Rows of `adaptive.csv` of the same trials.

    Raises:
        ValueError: If there are no rows.
    """
    # Only who draws waits for plotly.
    from plotly.subplots import make_subplots

    shown = [_Axes(panel.title, _panel(rows, panel)) for panel in panels(rows)]
    if not shown:
        raise ValueError("there is nothing to plot: no rows")
    shown += [
        _Axes(f"{aggregation_title(panel.aggregation)}: samples where they pay", _rules(panel), X_LABEL_MEAN)
        for panel in adaptive_panels(adaptive, rows)
    ]
    down, across = grid(len(shown))
    axes_height = _ROW * down + _BETWEEN * (down - 1)
    figure = make_subplots(
        down,
        across,
        specs=[[{} if row * across + column < len(shown) else None for column in range(across)] for row in range(down)],
        subplot_titles=[in_html(axes.title) for axes in shown],
        horizontal_spacing=0.06,
        vertical_spacing=_BETWEEN / axes_height,
        shared_xaxes="all",
        shared_yaxes="all",
    )
    drawn: list[_Drawn] = []
    for number, axes in enumerate(shown):
        row, column = divmod(number, across)
        for item in axes.traces:
            # One entry in the legend switches a setting in all panels.
            item.trace.showlegend = bool(item.trace.name) and item.trace.name not in {one.trace.name for one in drawn}
            item.trace.x = item.by_samples
            figure.add_trace(item.trace, row=row + 1, col=column + 1)
            drawn.append(item)
    figure.update_xaxes(type="log", tickvals=ticks(rows), showline=True, showticklabels=True)
    for number, axes in enumerate(shown):
        figure.update_xaxes(title_text=axes.x_label, row=number // across + 1, col=number % across + 1)
    # Used once the axis shows FLOPs: ticks at 1, 2 and 5 times the powers of ten.
    figure.update_xaxes(dtick="D2", exponentformat="power", tickmode="array")
    figure.update_yaxes(rangemode="tozero", showline=True, showticklabels=True)
    figure.update_yaxes(title_text=Y_LABEL, col=1)
    figure.update_layout(
        title_text=in_html(title),
        template="plotly_white",
        height=axes_height + _ABOVE + _BELOW,
        margin={"t": _ABOVE, "b": _BELOW},
        updatemenus=[_switch(drawn, [axes.x_label for axes in shown], top=1 + 0.75 * _ABOVE / axes_height)],
    )
    # A fixed id makes equal rows give equal files.
    figure.write_html(path, include_plotlyjs=True, full_html=True, div_id="curves", config={"displaylogo": False})


@register_artifact("curves.html", place=2)
def _curves(report: Report, path: Path) -> None:
    plot_curves_html(report.evaluation.rows, path, report.title, report.evaluation.adaptive)


def _panel(rows: Sequence[CurveRow], panel: Panel) -> list[_Drawn]:
    """Everything in one panel: bands first, so that they lie below the lines."""
    lines = [(line, [row for row in line.rows if not isnan(row.value)]) for line in panel.lines]
    drawn = [_band(points, line, band_opacity(len(lines))) for line, points in lines]
    if greedy := curve(rows, GREEDY):
        look = {"color": GREEDY_COLOUR, "dash": "dash", "width": 1.5}
        # A horizontal line over the extent of the curves, whichever axis they are drawn on.
        extent = [row for _, points in lines for row in points] or greedy
        trace = _line([greedy[0]] * 2, "greedy", line=look)
        n, flops = [row.n for row in extent], [row.flops for row in extent]
        drawn.append(_Drawn(trace, [min(n), max(n)], [min(flops), max(flops)]))
    if panel.guess:
        look = {"color": GUESS_COLOUR, "dash": "dot", "width": 2}
        # Guessing costs nothing, which has no place on a logarithmic axis.
        trace = _line(panel.guess, "random guess", line=look)
        drawn.append(_Drawn(trace, [row.n for row in panel.guess], [None] * len(panel.guess)))
    for line, points in lines:
        symbol = line.marker + ("-open" if line.dashed else "")
        look = {"color": line.colour, "width": 2, "dash": "5px,3px" if line.dashed else "solid"}
        trace = _line(points, line.label, line=look, mode="lines+markers", marker={"symbol": symbol, "size": 8})
        drawn.append(_Drawn(trace, [row.n for row in points], [row.flops for row in points]))
    return drawn


def _rules(panel: AdaptivePanel) -> list[_Drawn]:
    """What rules came to over their mean samples, beside as many samples for every question."""
    import plotly.graph_objects as go

    look = {"color": FIXED_COLOUR, "width": 3}
    fixed = _line(panel.fixed, f"{FIXED_LABEL}, {panel.trial}", line=look)
    drawn = [_Drawn(fixed, [row.n for row in panel.fixed], [row.flops for row in panel.fixed])]
    for kind, points in panel.rules.items():
        style = rule_look(kind)
        name = in_html(f"rule {kind}")
        compared = [(row.difference, row.difference_lo, row.difference_hi) for row in points]
        trace = go.Scatter(
            y=[100 * row.value for row in points],
            name=name,
            legendgroup=name,
            mode="lines+markers",
            line={"color": style.colour, "width": 2},
            marker={"symbol": style.marker, "size": 8},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (high - value) for value, _, high in compared],
                "arrayminus": [100 * (value - low) for value, low, _ in compared],
                "thickness": 1,
                "width": 0,
            },
            customdata=[
                [in_html(row.rule), row.waves, 100 * row.lo, 100 * row.hi, *(100 * one for one in ends), row.flops]
                for row, ends in zip(points, compared, strict=True)
            ],
            hovertemplate=_RULE_HOVER,
        )
        drawn.append(_Drawn(trace, [row.samples for row in points], [row.flops for row in points]))
    return drawn


def _line(rows: Sequence[CurveRow], name: str, *, mode: str = "lines", **look: Any) -> "go.Scatter":
    import plotly.graph_objects as go

    details = [[row.n, 100 * row.lo, 100 * row.hi, row.trajectories, row.flops] for row in rows]
    y = [100 * row.value for row in rows]
    label = in_html(name)
    return go.Scatter(y=y, name=label, legendgroup=label, mode=mode, customdata=details, hovertemplate=_HOVER, **look)


def _band(points: Sequence[CurveRow], line: Line, opacity: float) -> _Drawn:
    """The 95 % band as one outline: forth along the lower ends, back along the upper ones."""
    import plotly.graph_objects as go

    back = points[::-1]
    outline = [*points, *back]
    red, green, blue = (int(line.colour[start : start + 2], 16) for start in (1, 3, 5))
    trace = go.Scatter(
        y=[*(100 * row.lo for row in points), *(100 * row.hi for row in back)],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=f"rgba({red}, {green}, {blue}, {opacity})",
        hoverinfo="skip",
        legendgroup=in_html(line.label),
    )
    return _Drawn(trace, [row.n for row in outline], [row.flops for row in outline])


def _switch(drawn: Sequence[_Drawn], labels: Sequence[str], *, top: float) -> dict[str, Any]:
    """The two buttons that exchange the x coordinates of all traces and the labels of all x axes."""
    by_samples: dict[str, Any] = {}
    by_flops: dict[str, Any] = {}
    for number, label in enumerate(labels, start=1):
        axis = "xaxis" if number == 1 else f"xaxis{number}"
        by_samples |= {f"{axis}.title.text": label, f"{axis}.tickmode": "array", f"{axis}.autorange": True}
        by_flops |= {f"{axis}.title.text": _X_LABEL_FLOPS, f"{axis}.tickmode": "linear", f"{axis}.autorange": True}
    buttons = [
        {"label": "x: N", "method": "update", "args": [{"x": [item.by_samples for item in drawn]}, by_samples]},
        {"label": "x: FLOPs", "method": "update", "args": [{"x": [item.by_flops for item in drawn]}, by_flops]},
    ]
    place = {"x": 1.0, "xanchor": "right", "y": top, "yanchor": "top"}
    return {"type": "buttons", "direction": "right", "showactive": True, "buttons": buttons, **place}
