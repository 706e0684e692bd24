"""The headline of an experiment as a Markdown table: the best trial of every way to choose, and greedy decoding."""

from collections.abc import Sequence

from orchestrator.analysis.curves import CurveRow
from orchestrator.names import GREEDY
from orchestrator.reporting.layout import heading
from orchestrator.tracking.tracker import best_trials

_GAP = "\N{EM SPACE}"


def headline(rows: Sequence[CurveRow]) -> str:
    """Return one line per aggregation: its best trial at the largest budget that was sampled, with its interval."""
    lines = ["| | trial | N | % correct [95 % interval] |", "|---|---|---|---|"]
    lines += [_line(GREEDY, row) for row in rows if row.aggregation == GREEDY]
    for aggregation, trial in best_trials(rows).items():
        own = [one for one in rows if (one.aggregation, one.trial) == (aggregation, trial) and one.value == one.value]
        lines.append(_line(heading(aggregation), max(own, key=lambda row: row.n)))
    return "\n".join(lines)


def _line(title: str, row: CurveRow) -> str:
    value, low, high = (f"{100 * number:.1f}" for number in (row.value, row.lo, row.hi))
    # MLflow leaves no room between the columns of a table.
    return f"| {title}{_GAP} | {row.trial}{_GAP} | {row.n}{_GAP} | {value} [{low}, {high}] |"
