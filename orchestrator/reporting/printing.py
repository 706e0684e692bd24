"""What the terminal shows of an evaluated run: tables to standard output, and what went wrong where remarks go."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from orchestrator.analysis.comparisons import print_comparisons
from orchestrator.analysis.curves import CurveRow
from orchestrator.console import say
from orchestrator.reporting.run_files import TrialResult, all_comparisons
from orchestrator.reporting.tables import print_tables


def print_results(rows: Sequence[CurveRow], results: Sequence[TrialResult], output: Console, remarks: Console) -> None:
    """Print a table per aggregation, the comparisons at the largest budget, and what failed.

    Args:
        rows: Rows of `curves.csv`.
        results: What the trials came to.
        output: Where tables go.
        remarks: Where failures are told.
    """
    print_tables(rows, output)
    comparisons = all_comparisons(results)
    largest = max((one.n for one in comparisons), default=0)
    # The file has all budgets; a terminal is for the one that was paid for.
    print_comparisons([one for one in comparisons if one.n == largest], output)
    for result in results:
        for summary in (result.summary, *result.summary["searches"]):
            for line in _failures(summary):
                say(remarks, line)


def print_places(places: Sequence[tuple[str, object]], output: Console) -> None:
    """Print where things are, one line each: a label and a path, a link or a command."""
    for label, value in places:
        say(output, f"{label:<13} {value}")


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    """Say what went wrong in a trial, if anything did."""
    if summary["errors"]:
        yield (
            f"{summary['trial']}: {summary['errors']} of {summary['trajectories']} trajectories failed and count as "
            f"wrong; the first: {summary['first_error']}"
        )
    if summary["unparsable"]:
        yield (
            f"{summary['trial']}: {summary['unparsable']} of {summary['trajectories']} answers could not be read; they "
            "count as wrong and do not vote"
        )
    if summary["cut"]:
        abstain = summary["cut_answers"] == "abstain"
        yield (
            f"{summary['trial']}: {summary['cut']} of {summary['trajectories']} answers were cut off at answer_tokens; "
            + ("they count as wrong and do not vote" if abstain else "they are judged, and vote, as far as they got")
            + f" (task.cut_answers: {summary['cut_answers']})"
        )
    if summary.get("unscored"):
        yield f"{summary['trial']}: {summary['unscored']} of {summary['trajectories']} trajectories have no score"
