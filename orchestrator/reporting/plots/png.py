"""PNG files of figures: drawn without a display, once, and written whole."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latent_core.selection.aggregations import Marker
from orchestrator.files import write_atomically
from orchestrator.reporting.escaping import without_formulas

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

_DPI = 160


def new_figure(width: float, height: float, hspace: float | None = None) -> "Figure":
    """Return an empty figure with a constrained layout; sizes in inches, space between rows as a share of an axis."""
    # A report whose pictures are as they should be draws none: only who draws waits for matplotlib.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), dpi=_DPI, layout=ConstrainedLayoutEngine(hspace=hspace))


def save_png(figure: "Figure", path: Path) -> None:
    """Draw a figure, which need not know pyplot: no global state, and no display is ever looked for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    without_formulas(figure)
    # Any: matplotlib leaves its methods without types.
    canvas: Any = FigureCanvasAgg(figure)
    picture = io.BytesIO()
    # `Figure.savefig` draws a figure with a layout engine twice, the first time for the layout alone; painting lays out
    # by itself.
    canvas.print_png(picture)
    write_atomically(path, picture.getvalue())
