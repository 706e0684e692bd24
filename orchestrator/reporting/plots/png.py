"""Files of figures, PNG, PDF or SVG: drawn without a display, once, and written whole."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latent_core.selection.aggregations import Marker
from orchestrator.files import write_atomically
from orchestrator.reporting.escaping import without_formulas
from orchestrator.reporting.plots.style import figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS: Final[Mapping[Marker, str]] = {
    "circle": "o",
    "square": "s",
    "triangle-up": "^",
    "diamond": "D",
    "triangle-down": "v",
    "cross": "P",
    "x": "X",
}
"""Shapes of points in the words of matplotlib."""

_DPI, _PAPER_DPI = 160, 600
_UNDATED: Final[Mapping[str, dict[str, Any]]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}


def new_figure(width: float, height: float, hspace: float | None = None) -> "Figure":
    """Return an empty figure with a constrained layout; sizes in inches, space between rows as a share of an axis."""
    # A report whose pictures are as they should be draws none: only who draws waits for matplotlib.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    dpi = _DPI if figure_style().columns is None else _PAPER_DPI
    return Figure(figsize=(width, height), dpi=dpi, layout=ConstrainedLayoutEngine(hspace=hspace))


def save_figure(figure: "Figure", path: Path) -> None:
    """Draw a figure as PDF or SVG where the suffix says so, else as PNG; no pyplot and no display is ever looked for.

    The same figure gives the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    without_formulas(figure)
    fit_texts(figure)
    _shrink(figure)
    picture = io.BytesIO()
    if path.suffix in _UNDATED:
        figure.savefig(picture, format=path.suffix.removeprefix("."), metadata=_UNDATED[path.suffix])
    else:
        # Any: matplotlib leaves its methods without types.
        canvas: Any = FigureCanvasAgg(figure)
        # `Figure.savefig` draws a figure with a layout engine twice, the first time for the layout alone; painting lays
        # out by itself.
        canvas.print_png(picture)
    write_atomically(path, picture.getvalue())


def fit_texts(figure: "Figure") -> None:
    """Break titles and labels of axes that would be longer than the axes are in the style of the figure."""
    from matplotlib.text import Text

    style = figure_style()
    if style.columns is None:
        return
    width, height = figure.get_size_inches()
    for axis in figure.axes:
        place = axis.get_subplotspec()
        rows, across = place.get_gridspec().get_geometry() if place is not None else (1, 1)
        titles = {axis.get_title(loc) for loc in ("left", "center", "right")}
        for text in axis.get_children():
            if isinstance(text, Text) and text.get_text() in titles:
                text.set_text(style.wrapped(text.get_text(), 0.85 * width / across))
        axis.set_xlabel(style.wrapped(axis.get_xlabel(), 0.85 * width / across))
        axis.set_ylabel(style.wrapped(axis.get_ylabel(), 0.75 * height / rows))


def _shrink(figure: "Figure") -> None:
    """Make lines and markers as fine as the style of the figure asks."""
    from matplotlib.lines import Line2D

    share = figure_style().lines
    if share != 1.0:
        for line in figure.findobj(Line2D):
            assert isinstance(line, Line2D)
            line.set_linewidth(line.get_linewidth() * share)
            line.set_markersize(line.get_markersize() * share)
