"""Tables of results for a terminal, a log file or a report: curves, comparisons, objectives, and what failed."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.comparisons import Comparison
from orchestrator.analysis.curves import CurveRow, best_trials
from orchestrator.analysis.evaluation import Evaluation
from orchestrator.analysis.pareto import Judged
from orchestrator.config.objective import Objective
from orchestrator.console import say, widened
from orchestrator.names import GREEDY, RANDOM_GUESS
from orchestrator.reporting.costs import beam_table, warnings
from orchestrator.reporting.escaping import in_markdown
from orchestrator.reporting.layout import COVERAGE, aggregations, budgets, curve, title, trials
from orchestrator.reporting.titled_table import titled_table

# The name of a trial is folded where space is short, which costs no line: the cells beside it have two anyway.
_NARROWEST_LABEL, _WIDEST_LABEL = 16, 28
_GAP = "\N{EM SPACE}"


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
    caption = f"{title(aggregation)}, % [95 % interval]"
    result = Table(
        title=caption,
        # A table narrower than its title would fold it.
        min_width=len(caption),
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


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Lay out comparisons, trial by trial; a difference whose interval leaves out zero is bold."""
    table = titled_table("paired differences over the same questions, percentage points [95 % interval]")
    table.add_column("sampler setting", overflow="fold", min_width=16, max_width=28)
    table.add_column("difference", overflow="fold", min_width=24)
    table.add_column("N", justify="right", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True, min_width=22)
    previous = None
    for one in comparisons:
        style = "bold" if one.is_clear else ""
        points = Text.assemble(
            (f"{100 * one.difference:+.1f}", style), (f" [{100 * one.lo:+.1f}, {100 * one.hi:+.1f}]", "dim")
        )
        name = Text(one.trial if one.trial != previous else "")
        table.add_row(name, Text(f"{title(one.aggregation)} minus {title(one.baseline)}"), str(one.n), points)
        previous = one.trial
    return table


def print_comparisons(comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """Print the comparisons, or nothing where there are none."""
    if comparisons:
        console = console or Console()
        console.print(comparison_table(comparisons))
        console.print()


def print_objectives(judged: Sequence[Judged], objectives: Sequence[Objective], output: Console) -> None:
    """Print the trials that no other one beats, the best by the first objective on top."""
    if not judged:
        return
    sign = 1 if objectives[0].mode == "min" else -1
    chosen = sorted((one for one in judged if one.best), key=lambda one: sign * one.values[0])
    title = "best by objective" if len(objectives) == 1 else "Pareto front"
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True)
    for one in objectives:
        table.add_column(Text(one.text), justify="right", no_wrap=True)
    for trial in chosen:
        table.add_row(Text(trial.trial), *(f"{value:.4g}" for value in trial.values))
    output.print(table)
    output.print()


def print_results(evaluation: Evaluation, output: Console, remarks: Console) -> None:
    """Print a table per aggregation, the comparisons at the largest budget, and what failed.

    Args:
        evaluation: The results.
        output: Where tables go.
        remarks: Where failures are told.
    """
    print_tables(evaluation.rows, output)
    print_comparisons(_for_terminal(evaluation.comparisons), output)
    if (beams := beam_table(evaluation.rows, evaluation.comparisons)) is not None:
        output.print(beams)
        output.print()
    for line in warnings(evaluation.comparisons):
        say(remarks, line)
    for result in evaluation.trials:
        if "budget" in result.summary:
            say(remarks, budget_line(result.summary))
        for summary in (result.summary, *result.summary["searches"]):
            for line in _failures(summary):
                say(remarks, line)


def budget_line(summary: Mapping[str, Any]) -> str:
    """Say how many samples a budget rule has asked for, and where in tables that stands."""
    budget = summary["budget"]
    last = budget["waves"][-1]
    if budget["open"]:
        return f"{summary['trial']}: {budget['open']:,} questions are open, so there is no value under N={last} yet"
    return (
        f"{summary['trial']}: {budget['mean_samples']:.3g} samples a question, of {last} at most; under N={last} "
        "stands what came of them, each question with its own number"
    )


def _for_terminal(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return what is worth a line: at the budget that was paid for, against the vote and against greedy decoding."""
    shown = [one for one in comparisons if one.kind == "aggregations" and one.baseline in ("majority_vote", GREEDY)]
    largest = max((one.n for one in shown), default=0)
    return [one for one in shown if one.n == largest]


def print_missing_dynamics(evaluation: Evaluation, output: Console) -> None:
    """Print what of the dynamics could not be computed, and why: a line each, however many trials lack it."""
    lines = dict.fromkeys(line for one in evaluation.dynamics for line in one.missing)
    print_places([("dynamics", line) for line in lines], output)


def print_places(places: Sequence[tuple[str, object]], output: Console) -> None:
    """Print where things are, one line each: a label and a path, a link or a command."""
    for label, value in places:
        say(output, f"{label:<13} {value}")


def summary_table(rows: Sequence[CurveRow]) -> str:
    """Summary table in Markdown: greedy decoding, and of each aggregation the best trial with its interval.

    A trial stands there with its largest budget that was sampled.
    """
    lines = ["| | trial | N | % correct [95 % interval] |", "|---|---|---|---|"]
    lines += [_summary_line(GREEDY, row) for row in rows if row.aggregation == GREEDY]
    for aggregation, trial in best_trials(rows).items():
        own = [one for one in rows if (one.aggregation, one.trial) == (aggregation, trial) and one.value == one.value]
        lines.append(_summary_line(title(aggregation), max(own, key=lambda row: row.n)))
    return "\n".join(lines)


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


def _summary_line(label: str, row: CurveRow) -> str:
    value, low, high = (f"{100 * number:.1f}" for number in (row.value, row.lo, row.hi))
    # MLflow leaves no room between the columns of a table.
    return f"| {in_markdown(label)}{_GAP} | {in_markdown(row.trial)}{_GAP} | {row.n}{_GAP} | {value} [{low}, {high}] |"


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    """Say what went wrong in a trial, if anything did."""
    if summary["errors"]:
        yield (
            f"{summary['trial']}: {summary['errors']} of {summary['trajectories']} trajectories failed and count as "
            f"wrong; the first: {summary['first_error']}"
        )
        if transient := summary.get("transient_errors"):
            yield (
                f"{summary['trial']}: {transient} of them had a passing reason (memory, a lost device or process): the "
                "same command tries them again"
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
        reason = f" ({summary['first_score_error']})" if summary.get("first_score_error") else ""
        none = summary["unscored"] + summary["errors"] == summary["trajectories"]
        yield (
            f"{summary['trial']}: {summary['unscored']} of {summary['trajectories']} trajectories have no score{reason}"
            + (": no curves of the LatentRM" if none else "")
        )
    if summary.get("without_confidence") and summary["trial"] != GREEDY:
        yield (
            f"{summary['trial']}: {summary['without_confidence']} of {summary['trajectories']} trajectories are older "
            "than the record of how sure the model was: no curves of its confidence"
        )
