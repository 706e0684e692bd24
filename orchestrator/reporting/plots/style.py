"""Figure style: the sizes and texts of pictures, for a screen or for the column of a paper.

Plots lay out panels in inches of a screen; a paper's style says how many stand beside each other, and shrinks panels,
texts and lines to the width of a column, where they are printed as large as they are.
"""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Columns = Literal[1, 2]
COLUMN_INCHES: Final[Mapping[Columns, float]] = {1: 3.3, 2: 6.9}
"""Widths that fit the usual two-column and one-column templates of conferences."""

_POINTS = 7.5
_SCREEN_POINTS = 10.0
_LETTER_INCHES = 0.08
_LINES = 0.65


@dataclass(frozen=True)
class FigureStyle:
    """How a picture is drawn.

    Attributes:
        columns: Columns of a paper that it is as wide as; None for a screen.
        panels_per_row: Most panels beside each other.
        texts: Size of texts, relative to those of a screen.
        lines: Width of lines and size of markers, relative to those of a screen.
        headings: Whether a title stands above the picture; in a paper the caption says it.
        dashes: Whether curves differ in their dashes too, for grey print.
        parameters: Settings of matplotlib.
    """

    columns: Columns | None = None
    panels_per_row: int = 3
    texts: float = 1.0
    lines: float = 1.0
    headings: bool = True
    dashes: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def panel(self, inches: tuple[float, float], across: int) -> tuple[float, float]:
        """Return the size of a panel in inches, of which so many stand beside each other."""
        if self.columns is None:
            return inches
        width = COLUMN_INCHES[self.columns] / across
        # Texts shrink less than panels do: a little more height holds them.
        return width, min(width, inches[0] * 0.7) * inches[1] / inches[0] * 1.1

    def text(self, inches: float) -> float:
        """Return the room that a text takes which takes so many inches on a screen."""
        return inches * self.texts

    def wrapped(self, text: str, inches: float) -> str:
        """Return a title or a label in as many lines as it needs at an axis that is so long; as it is on screens."""
        if self.columns is None:
            return text
        return textwrap.fill(" ".join(text.split()), max(12, int(inches / self.text(_LETTER_INCHES))))


SCREEN: Final = FigureStyle()
_ACTIVE: ContextVar[FigureStyle] = ContextVar("figure_style", default=SCREEN)


def figure_style() -> FigureStyle:
    """Return the style in which pictures are drawn now."""
    return _ACTIVE.get()


def paper_style(columns: Columns) -> FigureStyle:
    """Return the style of a picture that is one or two columns of a paper wide."""
    parameters = {
        "font.size": _POINTS,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        # Publishers ask for fonts that are embedded as outlines (TrueType), not as bitmaps.
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        # The same picture is the same file.
        "svg.hashsalt": "latentswarm",
    }
    return FigureStyle(columns, 1 if columns == 1 else 3, _POINTS / _SCREEN_POINTS, _LINES, False, True, parameters)


@contextmanager
def drawn_as(style: FigureStyle) -> Iterator[None]:
    """Draw pictures in a style until the end of the block."""
    import matplotlib as mpl

    token = _ACTIVE.set(style)
    try:
        # Any: its keys are known to matplotlib's types one by one.
        parameters: Any = dict(style.parameters)
        with mpl.rc_context(parameters):
            yield
    finally:
        _ACTIVE.reset(token)
