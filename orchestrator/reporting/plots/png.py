"""PNG files of figures: drawn without a display, once, and written whole."""

import io
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from orchestrator.files import write_atomically

DPI = 160


def save_png(figure: Figure, path: Path) -> None:
    """Draw a figure, which need not know pyplot: no global state, and no display is ever looked for."""
    # Any: matplotlib leaves its methods without types.
    canvas: Any = FigureCanvasAgg(figure)
    picture = io.BytesIO()
    # `Figure.savefig` draws a figure with a layout engine twice, the first time for the layout alone; painting lays out
    # by itself.
    canvas.print_png(picture)
    write_atomically(path, picture.getvalue())
