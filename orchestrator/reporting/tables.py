"""Curves as tables for a terminal, a log file or a report: sampler setting x budget, one table per aggregation."""

import io
import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.curves import CurveRow
from orchestrator.console import widened
from orchestrator.names import GREEDY, RANDOM_GUESS
from orchestrator.reporting.layout import COVERAGE, aggregations, budgets, curve, heading, trials

# The name of a trial is folded where space is short, which costs no line: the cells beside it have two anyway.
_NARROWEST_LABEL, _WIDEST_LABEL = 16, 28


def table(rows: Sequence[CurveRow], aggregation: str, columns: Sequence[int] | None = None) -> Table:
    """Lay out one aggregation: greedy first, then the trials, then (under coverage) the random guess.

    A cell holds the value in percent above its 95 % interval: side by side, seven budgets would not fit into 120
    columns. "-" stands for a budget beyond what was sampled.

    Args:
        rows: Rows of `curves.csv`, of all aggregations.
        aggregation: The aggregation to show.
        columns: The budgets to show; by default all that occur in this table.

    Returns:
        A table whose numbers are never wrapped.
    """
    lines = {GREEDY: curve(rows, GREEDY)}
    lines.update((trial.name, curve(rows, aggregation, trial.name)) for trial in trials(rows))
    if aggregation == COVERAGE:
        lines["random guess"] = curve(rows, RANDOM_GUESS)
    if columns is None:
        columns = _columns(rows, aggregation)
    title = f"{heading(aggregation)}, % [95 % interval]"
    result = Table(
        title=title,
        # A table narrower than its title would fold it.
        min_width=len(title),
        title_style="bold",
        title_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    result.add_column("sampler setting", overflow="fold", min_width=_NARROWEST_LABEL, max_width=_WIDEST_LABEL)
    cells = {name: {row.n: _cell(row) for row in line if row.n in columns} for name, line in lines.items()}
    for n in columns:
        # no_wrap alone still lets rich cut numbers off, and tell a narrower measure than they need.
        width = max((len(part) for line in cells.values() for part in line.get(n, Text()).plain.split("\n")), default=0)
        result.add_column(f"N={n}", justify="right", no_wrap=True, min_width=width)
    for name, line in cells.items():
        if line:
            result.add_row(Text(name), *(line.get(n, Text()) for n in columns))
    return result


def print_tables(rows: Sequence[CurveRow], console: Console | None = None) -> None:
    """Print a table per aggregation, split by budget where it would be wider than the terminal.

    Args:
        rows: Rows of `curves.csv`.
        console: Where to; standard output by default. One that is no terminal is widened to 120 columns.
    """
    console = widened(console or Console())
    for aggregation in aggregations(rows):
        for part in _parts(console, rows, aggregation, _columns(rows, aggregation)):
            console.print(part)
            console.print()


def render(rows: Sequence[CurveRow]) -> str:
    """The same tables as plain text, for files and for tracking."""
    stream = io.StringIO()
    print_tables(rows, Console(file=stream, force_terminal=False, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _columns(rows: Sequence[CurveRow], aggregation: str) -> list[int]:
    """Budgets of this table; greedy decoding stands in the column of one sample."""
    others = (GREEDY, RANDOM_GUESS) if aggregation == COVERAGE else (GREEDY,)
    return budgets([row for row in rows if row.aggregation in (aggregation, *others)])


def _parts(console: Console, rows: Sequence[CurveRow], aggregation: str, columns: list[int]) -> Iterator[Table]:
    """The table, halved by budget until each part fits or has a single budget."""
    whole = table(rows, aggregation, columns)
    # Measured without the limit of the console, which would clip the answer to itself.
    needed = Measurement.get(console, console.options.update(width=10_000), whole).minimum
    if len(columns) == 1 or needed <= console.width:
        yield whole
        return
    half = (len(columns) + 1) // 2
    yield from _parts(console, rows, aggregation, columns[:half])
    yield from _parts(console, rows, aggregation, columns[half:])


def _cell(row: CurveRow) -> Text:
    if math.isnan(row.value):
        return Text("-")
    return Text.assemble(f"{100 * row.value:.1f}\n", (f"[{100 * row.lo:.1f}, {100 * row.hi:.1f}]", "dim"))
