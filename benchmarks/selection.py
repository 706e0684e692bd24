"""One table of ways to choose, from finished runs: LatentRMs that differ in objective or seed, on the same samples.

    python -m benchmarks.selection contrastive=runs/c0,runs/c1,runs/c2 bce=runs/b0,runs/b1,runs/b2

Each name stands for runs that differ in the seed of the LatentRM only; its cells are means over them, with the lowest
and the highest in brackets. What needs no LatentRM is the same in all of them and is shown once.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from latent_core.errors import UserError
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.names import GREEDY

_BUDGETS = (4, 16, 64)
_WITHOUT_SCORES = ("coverage", "majority_vote")
_BASELINES = ("majority_vote", GREEDY)


class Cell(NamedTuple):
    """Where a number stands: an aggregation, at a budget, in comparison with a baseline or by itself."""

    aggregation: str
    n: int
    baseline: str = ""


def read_run(run: Path) -> dict[Cell, tuple[float, float, float]]:
    """Return value, lower and upper end of everything that a run reports."""
    found: dict[Cell, tuple[float, float, float]] = {}
    for row in read_curves_csv(run / "curves.csv"):
        found[Cell(row.aggregation, row.n)] = (row.value, row.lo, row.hi)
    with (run / "comparisons.csv").open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            if line["kind"] != "aggregations" or line["baseline"] not in _BASELINES:
                continue
            cell = Cell(line["aggregation"], int(line["n"]), line["baseline"])
            found[cell] = (float(line["difference"]), float(line["lo"]), float(line["hi"]))
    return found


def table(groups: dict[str, list[Path]]) -> str:
    """Return the table as Markdown, in percent and percentage points."""
    runs = {name: [read_run(path) for path in paths] for name, paths in groups.items()}
    first = next(iter(runs.values()))[0]
    lines = [
        "| LatentRM | choice | " + " | ".join(f"N={n}" for n in _BUDGETS) + " |",
        "|---|---|" + "---|" * len(_BUDGETS),
    ]
    greedy = first[Cell(GREEDY, 1)]
    lines.append(f"| none | greedy | {_interval(greedy)} |" + " |" * (len(_BUDGETS) - 1))
    for aggregation in _WITHOUT_SCORES:
        cells = [_interval(first[Cell(aggregation, n)]) for n in _BUDGETS]
        lines.append(f"| none | {aggregation} | " + " | ".join(cells) + " |")
    for name, several in runs.items():
        chosen = list(
            dict.fromkeys(
                cell.aggregation for cell in several[0] if cell.baseline and cell.aggregation not in _WITHOUT_SCORES
            )
        )
        for aggregation in chosen:
            for baseline in ("", *_BASELINES):
                cells = [_over_seeds([run.get(Cell(aggregation, n, baseline)) for run in several]) for n in _BUDGETS]
                what = f"{aggregation} minus {baseline}" if baseline else aggregation
                lines.append(f"| {name} | {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(value: tuple[float, float, float]) -> str:
    return f"{100 * value[0]:.1f} [{100 * value[1]:.1f}, {100 * value[2]:.1f}]"


def _over_seeds(values: Sequence[tuple[float, float, float] | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if len(known) == 1:
        return _interval(known[0])
    points = [value[0] for value in known]
    lowest = min(value[1] for value in known)
    return (
        f"{100 * mean(points):.1f} ({100 * min(points):.1f} to {100 * max(points):.1f}; lowest end {100 * lowest:.1f})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="one table of ways to choose, from finished runs")
    parser.add_argument("groups", nargs="+", metavar="NAME=RUN[,RUN...]")
    groups = {}
    for text in parser.parse_args(arguments).groups:
        name, equals, paths = text.partition("=")
        if not equals:
            parser.error(f"{text!r}: expected NAME=RUN[,RUN...]")
        groups[name] = [Path(path) for path in paths.split(",")]
    try:
        print(table(groups))  # noqa: T201
    except (OSError, UserError, KeyError) as error:
        parser.error(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
