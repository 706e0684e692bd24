"""Diversity against coverage as one HTML page that needs no network: details of a setting under the pointer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_core.selection.aggregations import Look
from orchestrator.analysis.frontier import FrontierRow
from orchestrator.names import GREEDY
from orchestrator.reporting.artifacts import Report, register_artifact
from orchestrator.reporting.escaping import in_html
from orchestrator.reporting.layout import GREEDY_COLOUR, curve, sampler_looks, trial_colours
from orchestrator.reporting.plots.frontier_png import FrontierPanel, line_styles, marks, panels_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from orchestrator.analysis.curves import CurveRow

_DASHES = ("solid", "6px,3px", "2px,2px", "6px,3px,2px,3px")
_HEIGHT = 560
_HOVER = (
    "<b>%{customdata[0]}</b><br>coverage at %{customdata[1]}: %{y:.1f} % [%{customdata[2]:.1f}, %{customdata[3]:.1f}]"
    "<br>effective answers: %{customdata[4]:.2f}<br>dispersion of the last latents: %{customdata[5]:.3f}"
    "<br>single sample: %{customdata[6]:.1f} %<extra></extra>"
)


def plot_frontier_html(rows: Sequence[FrontierRow], curves: "Sequence[CurveRow]", path: Path, title: str) -> None:
    """Write a page with the panels of `frontier.png`; it holds the plotting library (some 5 MB).

    Args:
        rows: Rows of `frontier.csv`, at least one.
        curves: Rows of `curves.csv`, which give each setting the looks that it has in all pictures.
        path: The HTML file to write.
        title: Heading of the page.
    """
    # Only who draws waits for plotly.
    from plotly.subplots import make_subplots

    shown, styles = panels_of(rows), line_styles(rows, sampler_looks(curves))
    titles = [in_html(panel.title) for panel in shown]
    figure = make_subplots(1, len(shown), subplot_titles=titles, shared_yaxes="all", horizontal_spacing=0.05)
    for column, panel in enumerate(shown, start=1):
        for trace in _traces(panel, rows, styles, trial_colours(curves)):
            trace.showlegend = column == 1
            figure.add_trace(trace, row=1, col=column)
        for greedy in curve(curves, GREEDY):
            figure.add_hline(
                100 * greedy.value, line={"color": GREEDY_COLOUR, "dash": "dash", "width": 1.5}, col=column
            )
        figure.update_xaxes(
            title_text=panel.label.format(n=rows[0].n),
            type="log" if panel.logarithmic else "linear",
            autorange="reversed" if panel.backwards else True,
            showline=True,
            col=column,
        )
        if panel.logarithmic:
            ticks = marks([float(getattr(row, panel.name)) for row in rows])
            figure.update_xaxes(tickvals=ticks, ticktext=[f"{one:g}" for one in ticks], col=column)
    figure.update_yaxes(showline=True, showticklabels=True)
    figure.update_yaxes(title_text=f"coverage at {rows[0].n}, % of questions", col=1)
    legend = {"orientation": "h", "y": -0.18}
    figure.update_layout(title_text=in_html(title), template="plotly_white", height=_HEIGHT, legend=legend)
    # A fixed id makes equal rows give equal files.
    figure.write_html(path, include_plotlyjs=True, full_html=True, div_id="frontier", config={"displaylogo": False})


@register_artifact("frontier.html", lambda report: bool(report.evaluation.frontier), place=13)
def _frontier(report: Report, path: Path) -> None:
    made = report.evaluation
    plot_frontier_html(made.frontier, made.rows, path, f"{report.title}: diversity and coverage")


def _traces(
    panel: FrontierPanel,
    rows: Sequence[FrontierRow],
    styles: Mapping[str, tuple[Look, int]],
    colours: Mapping[str, str],
) -> "list[go.Scatter]":
    import plotly.graph_objects as go

    traces = []
    for line, (look, number) in styles.items():
        own = [row for row in rows if row.line == line]
        symbol = look.marker + ("-open" if number else "")
        error: dict[str, Any] = {
            "type": "data",
            "symmetric": False,
            "array": [100 * (row.coverage_hi - row.coverage) for row in own],
            "arrayminus": [100 * (row.coverage - row.coverage_lo) for row in own],
            "thickness": 1,
            "width": 0,
        }
        label = in_html(line)
        traces.append(
            go.Scatter(
                x=[panel.factor * getattr(row, panel.name) for row in own],
                y=[100 * row.coverage for row in own],
                error_y=error,
                name=label,
                legendgroup=label,
                mode="lines+markers",
                line={"color": look.colour, "width": 2, "dash": _DASHES[number % len(_DASHES)]},
                marker={"symbol": symbol, "size": 10, "color": [colours[row.trial] for row in own]},
                customdata=[_details(row) for row in own],
                hovertemplate=_HOVER,
            )
        )
    return traces


def _details(row: FrontierRow) -> list[Any]:
    ends = [100 * row.coverage_lo, 100 * row.coverage_hi]
    return [in_html(row.trial), row.n, *ends, row.effective_answers, row.dispersion, 100 * row.single]
