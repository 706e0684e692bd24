"""Curves as one HTML page that needs no network: details under the pointer, and N or FLOPs as the x axis."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.analysis.curves import CurveRow
from orchestrator.names import GREEDY
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

if TYPE_CHECKING:
    import plotly.graph_objects as go

_X_LABEL_FLOPS = "FLOPs over all questions"
# Heights in pixels: of the axes of a row of panels, between rows, above the first one (title and buttons), below.
_ROW, _BETWEEN, _ABOVE, _BELOW = 400, 110, 120, 80
_HOVER = (
    "<b>%{fullData.name}</b><br>N = %{customdata[0]}<br>%{y:.1f} % "
    "[%{customdata[1]:.1f}, %{customdata[2]:.1f}]<br>%{customdata[3]:,} trajectories<br>"
    "%{customdata[4]:.2e} FLOPs<extra></extra>"
)


class _Drawn(NamedTuple):
    """A trace and its two possible x coordinates, between which the page switches."""

    trace: "go.Scatter"
    by_samples: list[float | None]
    by_flops: list[float | None]


def plot_curves_html(rows: Sequence[CurveRow], path: Path, title: str) -> None:
    """Write a page with a panel per aggregation, or with one panel where there is a single sampler setting.

    The page holds everything it needs, the plotting library included (some 5 MB). All panels share the ranges of both
    axes.

    Args:
        rows: Rows of `curves.csv`, at least one.
        path: The HTML file to write.
        title: Heading of the page.

    Raises:
        ValueError: If there are no rows.
    """
    # Only who draws waits for plotly.
    from plotly.subplots import make_subplots

    shown = panels(rows)
    if not shown:
        raise ValueError("there is nothing to plot: no rows")
    down, across = grid(len(shown))
    axes_height = _ROW * down + _BETWEEN * (down - 1)
    figure = make_subplots(
        down,
        across,
        specs=[[{} if row * across + column < len(shown) else None for column in range(across)] for row in range(down)],
        subplot_titles=[in_html(panel.title) for panel in shown],
        horizontal_spacing=0.06,
        vertical_spacing=_BETWEEN / axes_height,
        shared_xaxes="all",
        shared_yaxes="all",
    )
    drawn: list[_Drawn] = []
    for number, panel in enumerate(shown):
        row, column = divmod(number, across)
        traces = _panel(rows, panel)
        for item in traces:
            # One entry in the legend switches a setting in all panels.
            item.trace.showlegend = bool(item.trace.name) and item.trace.name not in {one.trace.name for one in drawn}
            item.trace.x = item.by_samples
            figure.add_trace(item.trace, row=row + 1, col=column + 1)
        drawn += traces
    figure.update_xaxes(type="log", title_text=X_LABEL, tickvals=ticks(rows), showline=True, showticklabels=True)
    # Used once the axis shows FLOPs: ticks at 1, 2 and 5 times the powers of ten.
    figure.update_xaxes(dtick="D2", exponentformat="power", tickmode="array")
    figure.update_yaxes(rangemode="tozero", showline=True, showticklabels=True)
    figure.update_yaxes(title_text=Y_LABEL, col=1)
    figure.update_layout(
        title_text=in_html(title),
        template="plotly_white",
        height=axes_height + _ABOVE + _BELOW,
        margin={"t": _ABOVE, "b": _BELOW},
        updatemenus=[_switch(drawn, panels=len(shown), top=1 + 0.75 * _ABOVE / axes_height)],
    )
    # A fixed id makes equal rows give equal files.
    figure.write_html(path, include_plotlyjs=True, full_html=True, div_id="curves", config={"displaylogo": False})


@register_artifact("curves.html", place=2)
def _curves(report: Report, path: Path) -> None:
    plot_curves_html(report.evaluation.rows, path, report.title)


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


def _switch(drawn: Sequence[_Drawn], *, panels: int, top: float) -> dict[str, Any]:
    """The two buttons that exchange the x coordinates of all traces and the labels of all x axes."""
    by_samples: dict[str, Any] = {}
    by_flops: dict[str, Any] = {}
    for axis in ["xaxis", *(f"xaxis{panel}" for panel in range(2, panels + 1))]:
        by_samples |= {f"{axis}.title.text": X_LABEL, f"{axis}.tickmode": "array", f"{axis}.autorange": True}
        by_flops |= {f"{axis}.title.text": _X_LABEL_FLOPS, f"{axis}.tickmode": "linear", f"{axis}.autorange": True}
    buttons = [
        {"label": "x: N", "method": "update", "args": [{"x": [item.by_samples for item in drawn]}, by_samples]},
        {"label": "x: FLOPs", "method": "update", "args": [{"x": [item.by_flops for item in drawn]}, by_flops]},
    ]
    place = {"x": 1.0, "xanchor": "right", "y": top, "yanchor": "top"}
    return {"type": "buttons", "direction": "right", "showactive": True, "buttons": buttons, **place}
