"""Honest costs: beam search beside best-of-N at the same N and at the same FLOPs, and LatentRMs that choose badly."""

import math
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from orchestrator.analysis.comparisons import Comparison
from orchestrator.analysis.curves import CurveRow
from orchestrator.names import BEAM_SEARCH, GREEDY
from orchestrator.reporting.layout import title
from orchestrator.reporting.titled_table import titled_table

_BEST_OF_N = "best_of_n"
_CHOOSING = (_BEST_OF_N, "weighted_vote", "best_of_n_answer", "weighted_vote_answer")


def beam_table(rows: Sequence[CurveRow], comparisons: Sequence[Comparison]) -> Table | None:
    """Lay out every beam search with its cost, and what best-of-N comes to for as many samples and as many FLOPs.

    Args:
        rows: Rows of `curves.csv`.
        comparisons: Of the same results.

    Returns:
        The table; None where there is no beam search, or no best-of-N to put beside it.
    """
    of_samples = {(row.trial, row.n): row for row in rows if row.aggregation == _BEST_OF_N}
    beams = [row for row in rows if row.aggregation == BEAM_SEARCH and (row.trial, row.n) in of_samples]
    if not beams:
        return None
    table = titled_table("beam search and best-of-N, % correct at GFLOPs per question")
    table.add_column("sampler setting", overflow="fold", min_width=16, max_width=28)
    for heading in ("N", "beam search", "best-of-N, same N", "best-of-N, same FLOPs", "difference there"):
        table.add_column(heading, justify="right", no_wrap=True)
    equal = {
        (one.trial, one.n): one
        for one in comparisons
        if (one.kind, one.aggregation, one.baseline) == ("aggregations at equal FLOPs", BEAM_SEARCH, _BEST_OF_N)
    }
    previous = None
    for row in beams:
        there = equal.get((row.trial, row.n))
        cells = ["-", "-"]
        if there is not None:
            cells = [
                f"{100 * (row.value - there.difference):.1f} (N = {there.baseline_n:.3g})",
                f"{100 * there.difference:+.1f} [{100 * there.lo:+.1f}, {100 * there.hi:+.1f}]",
            ]
        name = Text(row.trial if row.trial != previous else "")
        table.add_row(name, str(row.n), _at_cost(row), _at_cost(of_samples[row.trial, row.n]), *cells)
        previous = row.trial
    return table


def warnings(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say of which trials a LatentRM chooses worse than greedy decoding does without one, at the largest budget."""
    against = [
        one
        for one in comparisons
        if one.kind == "aggregations" and one.baseline == GREEDY and one.aggregation in _CHOOSING
    ]
    for trial in dict.fromkeys(one.trial for one in against):
        own = [one for one in against if one.trial == trial]
        largest = max(one.n for one in own)
        worse = [one for one in own if one.n == largest and one.hi < 0]
        if worse:
            named = ", ".join(
                f"{title(one.aggregation)} {-100 * one.difference:.1f} [{-100 * one.hi:.1f}, {-100 * one.lo:.1f}]"
                for one in worse
            )
            yield (
                f"{trial}: choosing by the LatentRM is worse than greedy decoding at N = {largest}, by points: {named}"
                "; it is not fit for these samples"
            )


def _at_cost(row: CurveRow) -> str:
    questions = row.trajectories / row.n
    cost = "-" if math.isnan(row.flops) else f"{row.flops / questions / 1e9:.3g}"
    return f"{100 * row.value:.1f} at {cost}"
