"""Curves as one HTML page that needs no network: details under the pointer, and N or FLOPs as the x axis."""

from collections.abc import Sequence
from html import escape
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from orchestrator.curve_layout import (
    COVERAGE,
    GREEDY_COLOUR,
    GUESS_COLOUR,
    X_LABEL,
    Y_LABEL,
    Trial,
    aggregations,
    band_opacity,
    budgets,
    curve,
    heading,
    trials,
)
from orchestrator.curves import GREEDY, RANDOM_GUESS, CurveRow

_X_LABEL_FLOPS = "FLOPs over all questions"
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_HOVER = (
    "<b>%{fullData.name}</b><br>N = %{customdata[0]}<br>%{y:.1f} % "
    "[%{customdata[1]:.1f}, %{customdata[2]:.1f}]<br>%{customdata[3]:,} trajectories<br>"
    "%{customdata[4]:.2e} FLOPs<extra></extra>"
)


class _Drawn(NamedTuple):
    """A trace and its two possible x coordinates, between which the page switches."""

    trace: go.Scatter
    by_samples: list[float | None]
    by_flops: list[float | None]


def plot_curves_html(rows: Sequence[CurveRow], path: Path, title: str) -> None:
    """Write a page with one panel per aggregation.

    The page holds everything it needs, the plotting library included (some 5 MB).

    Args:
        rows: Rows of `curves.csv`, at least one.
        path: The HTML file to write.
        title: Heading of the page.

    Raises:
        ValueError: If there are no rows.
    """
    names = aggregations(rows)
    if not names:
        raise ValueError("there is nothing to plot: no rows")
    figure = make_subplots(1, len(names), subplot_titles=[heading(name) for name in names], horizontal_spacing=0.08)
    drawn: list[_Drawn] = []
    for column, name in enumerate(names, start=1):
        panel = _panel(rows, name)
        for item in panel:
            # One entry in the legend switches a setting in all panels.
            item.trace.showlegend = bool(item.trace.name) and item.trace.name not in {one.trace.name for one in drawn}
            item.trace.x = item.by_samples
            figure.add_trace(item.trace, row=1, col=column)
        drawn += panel
    figure.update_xaxes(type="log", title_text=X_LABEL, tickvals=budgets(rows), showline=True)
    # Used once the axis shows FLOPs: ticks at 1, 2 and 5 times the powers of ten.
    figure.update_xaxes(dtick="D2", exponentformat="power", tickmode="array")
    figure.update_yaxes(title_text=Y_LABEL, rangemode="tozero", showline=True)
    figure.update_layout(
        title_text=escape(title),
        template="plotly_white",
        height=640,
        margin={"t": 120},
        updatemenus=[_switch(drawn, panels=len(names))],
    )
    # A fixed id makes equal rows give equal files.
    figure.write_html(path, include_plotlyjs=True, full_html=True, div_id="curves", config={"displaylogo": False})


def _panel(rows: Sequence[CurveRow], aggregation: str) -> list[_Drawn]:
    """Everything in one panel: bands first, so that they lie below the lines."""
    lines = {trial: curve(rows, aggregation, trial.name) for trial in trials(rows)}
    lines = {trial: [row for row in line if not isnan(row.value)] for trial, line in lines.items()}
    drawn = [_band(line, trial, band_opacity(len(lines))) for trial, line in lines.items()]
    if greedy := curve(rows, GREEDY):
        look = {"color": GREEDY_COLOUR, "dash": "dash", "width": 1.5}
        # A horizontal line over the extent of the curves, whichever axis they are drawn on.
        extent = [row for line in lines.values() for row in line] or greedy
        trace = _line([greedy[0]] * 2, "greedy", line=look)
        n, flops = [row.n for row in extent], [row.flops for row in extent]
        drawn.append(_Drawn(trace, [min(n), max(n)], [min(flops), max(flops)]))
    if aggregation == COVERAGE and (guess := curve(rows, RANDOM_GUESS)):
        look = {"color": GUESS_COLOUR, "dash": "dot", "width": 2}
        # Guessing costs nothing, which has no place on a logarithmic axis.
        drawn.append(_Drawn(_line(guess, "random guess", line=look), [row.n for row in guess], [None] * len(guess)))
    for trial, line in lines.items():
        marker = {"symbol": _SYMBOLS[trial.family % len(_SYMBOLS)], "size": 8}
        trace = _line(line, trial.name, line={"color": trial.colour, "width": 2}, mode="lines+markers", marker=marker)
        drawn.append(_Drawn(trace, [row.n for row in line], [row.flops for row in line]))
    return drawn


def _line(rows: Sequence[CurveRow], name: str, *, mode: str = "lines", **look: Any) -> go.Scatter:
    details = [[row.n, 100 * row.lo, 100 * row.hi, row.trajectories, row.flops] for row in rows]
    y = [100 * row.value for row in rows]
    label = escape(name)
    return go.Scatter(y=y, name=label, legendgroup=label, mode=mode, customdata=details, hovertemplate=_HOVER, **look)


def _band(line: Sequence[CurveRow], trial: Trial, opacity: float) -> _Drawn:
    """The 95 % band as one outline: forth along the lower ends, back along the upper ones."""
    back = line[::-1]
    outline = [*line, *back]
    red, green, blue = (int(trial.colour[start : start + 2], 16) for start in (1, 3, 5))
    trace = go.Scatter(
        y=[*(100 * row.lo for row in line), *(100 * row.hi for row in back)],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=f"rgba({red}, {green}, {blue}, {opacity})",
        hoverinfo="skip",
        legendgroup=escape(trial.name),
    )
    return _Drawn(trace, [row.n for row in outline], [row.flops for row in outline])


def _switch(drawn: Sequence[_Drawn], *, panels: int) -> dict[str, Any]:
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
    place = {"x": 1.0, "xanchor": "right", "y": 1.2, "yanchor": "top"}
    return {"type": "buttons", "direction": "right", "showactive": True, "buttons": buttons, **place}
