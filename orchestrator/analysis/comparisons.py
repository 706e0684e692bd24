"""Paired comparisons: aggregations, trials and runs against each other, corrected for their number.

At equal N both sides have the budget of the line. At equal FLOPs the baseline is read off its own curve, question by
question and linearly between its budgets, where it has cost what the other side costs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

import numpy as np

from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import paired_difference, paired_test
from orchestrator.analysis.curves import CurvePoint
from orchestrator.analysis.holm import holm
from orchestrator.files import write_csv
from orchestrator.names import GREEDY

Kind = Literal["aggregations", "aggregations at equal FLOPs", "trials", "trials at equal FLOPs", "runs"]
"""What a line compares; the lines of a file of one kind are one family of tests."""

COVERAGE: Final = "coverage"
MOST_TRIALS_IN_PAIRS: Final = 12
"""Up to so many trials are compared pair by pair; of more, each with the best of its aggregation."""
_EQUAL_COST = 0.01


@dataclass(frozen=True)
class Comparison:
    """One line of `comparisons.csv`.

    Attributes:
        trial: Name of the trial whose result is compared.
        aggregation: What is compared.
        baseline: The aggregation it is compared with.
        n: Budget of the aggregation: samples per question.
        difference: Accuracy of the aggregation minus that of the baseline, mean over questions, in [-1, 1].
        lo: Lower end of its 95 % interval.
        hi: Upper end of its 95 % interval.
        questions: Number of questions.
        kind: What is compared.
        baseline_trial: Trial of the baseline.
        baseline_n: Budget of the baseline: 1 of greedy decoding, and between two budgets at equal FLOPs.
        p: Two-sided p-value of no difference, of the very interval.
        p_holm: The same, corrected for all lines of this kind (Holm 1979).
    """

    trial: str
    aggregation: str
    baseline: str
    n: int
    difference: float
    lo: float
    hi: float
    questions: int
    kind: Kind
    baseline_trial: str
    baseline_n: float
    p: float
    p_holm: float = float("nan")

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.lo > 0.0 or self.hi < 0.0


COLUMNS = tuple(entry.name for entry in fields(Comparison))
_Curves = Mapping[str, Sequence[CurvePoint]]
"""By aggregation its known points, by increasing budget."""


def compare_all(trials: Mapping[str, Sequence[CurvePoint]], greedy: CurvePoint | None = None) -> list[Comparison]:
    """Compare what the trials of an experiment came to.

    Aggregations of a trial meet each other, coverage apart, which chooses nothing, and greedy decoding. Trials meet
    each other aggregation by aggregation.

    Args:
        trials: The points of each sampled trial, by its name; those with NaN do not count.
        greedy: Greedy decoding, if it is there.
    """
    curves = {name: _curves(points) for name, points in trials.items()}
    found = []
    for name, own in curves.items():
        found += _aggregations(name, own, greedy)
    for aggregation in dict.fromkeys(aggregation for own in curves.values() for aggregation in own):
        found += _trials({name: own for name, own in curves.items() if aggregation in own}, aggregation)
    return corrected(found)


def compare_points(kind: Kind, one: CurvePoint, other: CurvePoint, other_n: float | None = None) -> Comparison:
    """Compare two points on the same questions, in the same order.

    Raises:
        ValueError: If the numbers of questions differ.
    """
    difference = paired_difference(one.by_question, other.by_question)
    return Comparison(
        one.trial,
        one.aggregation,
        other.aggregation,
        one.n,
        *difference,
        len(one.by_question),
        kind,
        other.trial,
        float(other.n) if other_n is None else other_n,
        paired_test(one.by_question, other.by_question),
    )


def corrected(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Correct p-values for the number of comparisons of a kind."""
    found = list(comparisons)
    for kind in {one.kind for one in found}:
        places = [place for place, one in enumerate(found) if one.kind == kind]
        for place, p in zip(places, holm([found[place].p for place in places]), strict=True):
            found[place] = replace(found[place], p_holm=p)
    return found


def write_comparisons_csv(comparisons: Iterable[Comparison], path: Path) -> None:
    """Write comparisons; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, comparisons))


def _curves(points: Sequence[CurvePoint]) -> dict[str, list[CurvePoint]]:
    curves: dict[str, list[CurvePoint]] = {}
    for point in points:
        if not np.isnan(point.value):
            curves.setdefault(point.aggregation, []).append(point)
    return {name: sorted(own, key=lambda point: point.n) for name, own in curves.items()}


def _aggregations(trial: str, curves: _Curves, greedy: CurvePoint | None) -> list[Comparison]:
    """Compare ways to choose with each other; the later one in the order of the curves is compared with the earlier."""
    choosing = {name: own for name, own in curves.items() if name != COVERAGE}
    found = []
    for n in sorted({point.n for own in choosing.values() for point in own if point.n > 1}):
        there = [point for own in choosing.values() for point in own if point.n == n]
        found += [compare_points("aggregations", point, greedy) for point in there] if greedy is not None else []
        found += [compare_points("aggregations", later, earlier) for earlier, later in combinations(there, 2)]
    kind: Kind = "aggregations at equal FLOPs"
    for baseline, name in combinations(choosing, 2):
        for point in choosing[name]:
            at = at_equal_flops(choosing[baseline], point.flops)
            if point.n > 1 and at is not None and abs(at[1] - point.n) > _EQUAL_COST * point.n:
                found.append(compare_points(kind, point, *at))
    return found


def _trials(curves: Mapping[str, _Curves], aggregation: str) -> list[Comparison]:
    found = []
    for one, other in _pairs({name: own[aggregation][-1] for name, own in curves.items()}):
        points, baseline = curves[one][aggregation], curves[other][aggregation]
        by_budget = {point.n: point for point in baseline}
        found += [compare_points("trials", point, by_budget[point.n]) for point in points if point.n in by_budget]
        for point in points:
            at = at_equal_flops(baseline, point.flops)
            if at is not None and abs(at[1] - point.n) > _EQUAL_COST * point.n:
                found.append(compare_points("trials at equal FLOPs", point, *at))
    return found


def _pairs(last: Mapping[str, CurvePoint]) -> list[tuple[str, str]]:
    """Return which trials are compared with which."""
    if len(last) <= MOST_TRIALS_IN_PAIRS:
        return [(later, earlier) for earlier, later in combinations(last, 2)]
    best = max(last, key=lambda name: (last[name].n, last[name].value))
    return [(name, best) for name in last if name != best]


def at_equal_flops(curve: Sequence[CurvePoint], flops: float) -> tuple[CurvePoint, float] | None:
    """Return a curve where it costs as much, and the number of samples there; None where it never does.

    Args:
        curve: Points by increasing budget, and so by increasing cost.
        flops: The cost over all questions.
    """
    costs = np.array([point.flops for point in curve])
    # Sums of the same costs differ in their last bits.
    if np.isnan(costs).any() or not costs[0] * (1 - 1e-9) <= flops <= costs[-1] * (1 + 1e-9):
        return None
    above = min(int(np.searchsorted(costs, flops * (1 - 1e-9))), len(curve) - 1)
    if above == 0 or abs(costs[above] - flops) <= 1e-9 * flops:
        return curve[above], float(curve[above].n)
    before, behind = curve[above - 1], curve[above]
    share = float((flops - before.flops) / (behind.flops - before.flops))
    values: FloatArray = (1 - share) * before.by_question + share * behind.by_question
    return replace(behind, by_question=values, flops=flops), (1 - share) * before.n + share * behind.n


def greedy_of(points: Iterable[CurvePoint]) -> CurvePoint | None:
    """Return the point of greedy decoding, if it is among them."""
    return next((point for point in points if point.aggregation == GREEDY), None)
