"""Escaping of names per medium: what a checkpoint, a task, a run or a trial is called is text wherever it is shown.

Names are chosen by others: files, directories, data sets. In a picture "$" would begin a formula, in Markdown "|" a
column, on a page "<" an element. CSV files are quoted by `orchestrator.files.write_csv`, and lines for a terminal are
printed by `orchestrator.console.say`; cells of a table for a terminal are `rich.text.Text`.
"""

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKDOWN = re.compile(r"[\\`*|\[\]$~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")

_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def in_markdown(name: str) -> str:
    """Return Markdown that shows a name as it is, also within a table; most names are their own Markdown."""
    # As entities, since not every reader of Markdown takes a backslash in front of them.
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(name.splitlines()))
    return _MARKDOWN.sub(r"\\\g<0>", text).replace("<", "&lt;").replace(">", "&gt;")


def in_html(name: str) -> str:
    """Return HTML that shows a name as it is, also where the page has formulas between dollar signs."""
    return html.escape(name).replace("$", "&#36;")


def in_latex(name: str) -> str:
    """Return LaTeX that shows a name as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(name.splitlines()))


def in_legend(name: str) -> str:
    """Return a label of a picture's legend: matplotlib leaves out those that begin with "_"."""
    return f" {name}" if name.startswith("_") else name


def without_formulas(figure: "Figure") -> None:
    """Let all texts of a figure be shown letter by letter: "$" is no formula, and nothing goes through TeX."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
