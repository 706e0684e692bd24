"""Runs against runs: the same setting in both, and the best of each, paired on the questions that both have asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from orchestrator.analysis.comparisons import Comparison, compare_points, corrected
from orchestrator.analysis.curves import CurvePoint
from orchestrator.names import GREEDY


@dataclass(frozen=True)
class RunPoints:
    """What a run came to, question by question.

    Attributes:
        name: What the run is called.
        questions: What was asked, in order: id, text and reference of each question.
        trials: The points of each trial by its name, greedy decoding among them.
    """

    name: str
    questions: Sequence[tuple[str, str, str]]
    trials: Mapping[str, Sequence[CurvePoint]]


def compare_runs(runs: Sequence[RunPoints]) -> list[Comparison]:
    """Compare every run with those before it, aggregation by aggregation and budget by budget.

    Trials of one name are compared, and the best trial of each run where these have other names. The best were chosen
    on the same questions, which flatters a run of many trials.

    Returns:
        The comparisons, in which trials are called "RUN: TRIAL"; none for runs without a question in common.
    """
    found = []
    for baseline, run in combinations(runs, 2):
        places = {question: place for place, question in enumerate(baseline.questions)}
        pairs = [(place, places[one]) for place, one in enumerate(run.questions) if one in places]
        if pairs:
            own, other = (np.array(side) for side in zip(*pairs, strict=True))
            found += _compare(_points(run, own), _points(baseline, other))
    return corrected(found)


_Cell = tuple[str, int]


def _points(run: RunPoints, places: np.ndarray) -> dict[_Cell, dict[str, CurvePoint]]:
    """Return by aggregation and budget the point of each trial, on some of the questions."""
    found: dict[_Cell, dict[str, CurvePoint]] = {}
    for name, points in run.trials.items():
        for point in points:
            if not np.isnan(point.value):
                named = replace(point, trial=f"{run.name}: {name}", by_question=point.by_question[places])
                found.setdefault((point.aggregation, point.n), {})[name] = named
    return found


def _compare(
    own: Mapping[_Cell, Mapping[str, CurvePoint]], other: Mapping[_Cell, Mapping[str, CurvePoint]]
) -> list[Comparison]:
    found = []
    for cell in (cell for cell in own if cell in other):
        names = [name for name in own[cell] if name in other[cell]]
        best = _best(own[cell]), _best(other[cell])
        pairs = [(name, name) for name in names]
        if best not in pairs:
            pairs.append(best)
        found += [compare_points("runs", own[cell][one], other[cell][two]) for one, two in pairs]
    return found


def _best(points: Mapping[str, CurvePoint]) -> str:
    return max(points, key=lambda name: points[name].value)


def at_largest_budget(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons of each aggregation at its largest budget."""
    largest: dict[str, int] = {}
    for one in comparisons:
        largest[one.aggregation] = max(one.n, largest.get(one.aggregation, 0))
    return [one for one in comparisons if one.aggregation == GREEDY or one.n == largest[one.aggregation]]
