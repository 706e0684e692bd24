"""What a picture of curves holds: panels and their lines. The plots only draw them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.curves import CurveRow
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE, RANDOM_GUESS
from orchestrator.reporting.layout import COVERAGE, TrialStyle, aggregations, budgets, curve, heading, shade, trials

# Looks of the aggregations where one picture shows them all: index of hue and marker, and whether dashed. The
# answer-aware variant of a method has the method's own hue and marker.
_LOOKS = {
    COVERAGE: (0, False),
    "majority_vote": (1, False),
    "best_of_n": (2, False),
    "weighted_vote": (3, False),
    "best_of_n_answer": (2, True),
    "weighted_vote_answer": (3, True),
    BEAM_SEARCH: (4, False),
    BEAM_VOTE: (5, False),
}
_FIRST_SPARE = 6
_PANELS_PER_ROW = 3


@dataclass(frozen=True)
class Line:
    """A curve in a picture.

    Attributes:
        label: Its name in the legend.
        rows: Its points, by increasing budget.
        colour: "#rrggbb".
        shape: Index of its marker.
        dashed: Whether it is dashed, with hollow markers.
    """

    label: str
    rows: list[CurveRow]
    colour: str
    shape: int
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: Its heading.
        lines: Its curves.
        guess: The curve of guesses where it belongs here, else empty.
    """

    title: str
    lines: list[Line]
    guess: list[CurveRow]


def panels(rows: Sequence[CurveRow]) -> list[Panel]:
    """Lay out a picture.

    Several sampler settings are compared: one panel per aggregation, one line per setting. Of a single setting people
    want to see how the aggregations compare: one panel, one line per aggregation, with the beam searches beside it.
    """
    sampled = [trial for trial in trials(rows) if not _is_beam(rows, trial)]
    if len(sampled) == 1:
        return [_panel_of_trial(rows, sampled[0].name)]
    return [_panel_of_aggregation(rows, name) for name in aggregations(rows)]


def grid(count: int) -> tuple[int, int]:
    """Rows and columns for that many panels: at most three beside each other, and rows as even as possible."""
    rows = math.ceil(count / _PANELS_PER_ROW)
    return rows, math.ceil(count / rows)


def ticks(rows: Sequence[CurveRow]) -> list[int]:
    """Budgets to mark on the axis: those of sampling, because a beam search may have any."""
    return budgets([row for row in rows if row.aggregation not in (BEAM_SEARCH, BEAM_VOTE)]) or budgets(rows)


def _panel_of_aggregation(rows: Sequence[CurveRow], aggregation: str) -> Panel:
    lines = [
        Line(trial.name, line, trial.colour, trial.family)
        for trial in trials(rows)
        if (line := curve(rows, aggregation, trial.name))
    ]
    return Panel(heading(aggregation), lines, curve(rows, RANDOM_GUESS) if aggregation == COVERAGE else [])


def _panel_of_trial(rows: Sequence[CurveRow], trial: str) -> Panel:
    lines = []
    names = aggregations(rows)
    # Aggregations that have no look of their own take the next hues and markers.
    spare = {name: _FIRST_SPARE + index for index, name in enumerate(name for name in names if name not in _LOOKS)}
    for name in names:
        shape, dashed = _LOOKS.get(name, (spare.get(name, 0), False))
        owners = [one.name for one in trials(rows) if curve(rows, name, one.name)]
        for owner in owners:
            label = heading(name) if len(owners) == 1 else f"{heading(name)}, {owner}"
            colour = shade(shape, owners.index(owner), len(owners))
            lines.append(Line(label, curve(rows, name, owner), colour, shape, dashed))
    return Panel(trial, lines, curve(rows, RANDOM_GUESS))


def _is_beam(rows: Sequence[CurveRow], trial: TrialStyle) -> bool:
    return all(row.aggregation in (BEAM_SEARCH, BEAM_VOTE) for row in rows if row.trial == trial.name)
