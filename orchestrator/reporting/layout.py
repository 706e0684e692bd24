"""Figure layout of curve rows: trials and their order, colours and markers, titles, and the panels of a picture.

Tables and plots share it, so that a setting has the same place and the same looks in all of them. The plots only draw.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from latent_core.selection.aggregations import AGGREGATIONS, Look, Marker
from orchestrator.analysis.curves import CurveRow
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE, GREEDY, RANDOM_GUESS

COVERAGE = "coverage"
X_LABEL, Y_LABEL = "samples per question N", "correct, % of questions"
GREEDY_COLOUR, GUESS_COLOUR = "#222222", "#808080"
# Okabe & Ito's palette (jfly.uni-koeln.de/color), which stays distinct under all common colour blindnesses, and one
# shape per hue: what the hue says, for those who cannot tell hues apart. The looks of the aggregations are taken from
# it too.
_PALETTE: Final[tuple[Look, ...]] = (
    Look("#0072b2", "circle"),
    Look("#d55e00", "square"),
    Look("#009e73", "triangle-up"),
    Look("#cc79a7", "diamond"),
    Look("#e69f00", "triangle-down"),
    Look("#56b4e9", "cross"),
    Look("#555555", "x"),
)
_FIRST_SPARE = 6
_BEAM_TITLES = {BEAM_SEARCH: "beam search (LatentRM)", BEAM_VOTE: "beam search + vote (LatentRM)"}
_BEAM_LOOKS = {BEAM_SEARCH: _PALETTE[4], BEAM_VOTE: _PALETTE[5]}
_PANELS_PER_ROW = 3
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


@dataclass(frozen=True)
class TrialStyle:
    """Place and looks of one sampler setting.

    Attributes:
        name: Its name in the rows.
        sampler: The sampler it is a setting of.
        family: Index of the sampler among all samplers, in the order of their first rows.
        rank: Position among the settings of the same sampler, smallest number first.
        siblings: Number of settings of the same sampler, this one included.
    """

    name: str
    sampler: str
    family: int
    rank: int
    siblings: int

    @property
    def colour(self) -> str:
        """The sampler's hue, "#rrggbb": light for its first setting, dark for its last."""
        return _shade(_palette(self.family).colour, self.rank, self.siblings)

    @property
    def marker(self) -> Marker:
        """The sampler's marker."""
        return _palette(self.family).marker


@dataclass(frozen=True)
class Line:
    """A curve in a picture.

    Attributes:
        label: Its name in the legend.
        rows: Its points, by increasing budget.
        colour: "#rrggbb".
        marker: Shape of its points.
        dashed: Whether it is dashed, with hollow markers.
    """

    label: str
    rows: list[CurveRow]
    colour: str
    marker: Marker
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: What stands above it.
        lines: Its curves.
        guess: The curve of guesses where it belongs here, else empty.
    """

    title: str
    lines: list[Line]
    guess: list[CurveRow]


def trials(rows: Sequence[CurveRow]) -> list[TrialStyle]:
    """The sampler settings among the rows: grouped by sampler, and by their numbers within a sampler.

    A sweep finishes its trials in any order; a reader looks for sigma = 0.2 between 0.1 and 0.4.
    """
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.aggregation not in (GREEDY, RANDOM_GUESS):
            family = names.setdefault(row.sampler, [])
            if row.trial not in family:
                family.append(row.trial)
    return [
        TrialStyle(name, sampler, family, rank, len(members))
        for family, (sampler, members) in enumerate(names.items())
        for rank, name in enumerate(sorted(members, key=_natural))
    ]


def sampler_looks(rows: Sequence[CurveRow]) -> dict[str, Look]:
    """Hue and marker of every sampler among the rows, by its name."""
    return {trial.sampler: _palette(trial.family) for trial in trials(rows)}


def trial_colours(rows: Sequence[CurveRow]) -> dict[str, str]:
    """Colour of every trial by its name, greedy decoding included."""
    return {trial.name: trial.colour for trial in trials(rows)} | {GREEDY: GREEDY_COLOUR}


def aggregations(rows: Sequence[CurveRow]) -> list[str]:
    """The aggregations to show, in the order of their first rows.

    Greedy decoding and guesses have no table or panel of their own: without any curve they are shown under coverage.
    """
    names = dict.fromkeys(row.aggregation for row in rows)
    return [name for name in names if name not in (GREEDY, RANDOM_GUESS)] or ([COVERAGE] if rows else [])


def title(aggregation: str) -> str:
    """What people read for an aggregation; a name that is not registered, as in an older file, in words."""
    if aggregation in AGGREGATIONS:
        return AGGREGATIONS[aggregation].title
    return _BEAM_TITLES.get(aggregation, aggregation.replace("_", " "))


def curve(rows: Sequence[CurveRow], aggregation: str, trial: str | None = None) -> list[CurveRow]:
    """The rows of an aggregation, of one trial where it is named, by increasing budget."""
    wanted = (row for row in rows if row.aggregation == aggregation and trial in (None, row.trial))
    return sorted(wanted, key=lambda row: row.n)


def budgets(rows: Sequence[CurveRow]) -> list[int]:
    """All budgets among the rows, increasing."""
    return sorted({row.n for row in rows})


def band_opacity(trials_shown: int) -> float:
    """How opaque a 95 % band is: bands lie upon each other, and many must not bury the lines."""
    return min(0.12, 0.5 / max(1, trials_shown))


def panels(rows: Sequence[CurveRow]) -> list[Panel]:
    """Lay out a picture.

    Several sampler settings are compared: one panel per aggregation, one line per setting. Of a single setting people
    want to see how the aggregations compare: one panel, one line per aggregation, with the beam searches beside it.
    """
    sampled = [trial for trial in trials(rows) if not _is_beam(rows, trial)]
    if len(sampled) == 1:
        return [_panel_of_trial(rows, sampled[0].name)]
    return [_panel_of_aggregation(rows, name) for name in aggregations(rows)]


def grid(count: int, most: int = _PANELS_PER_ROW) -> tuple[int, int]:
    """Rows and columns for that many panels: at most so many beside each other, and rows as even as possible."""
    rows = math.ceil(count / most)
    return rows, math.ceil(count / rows)


def ticks(rows: Sequence[CurveRow]) -> list[int]:
    """Budgets to mark on the axis: those of sampling, because a beam search may have any."""
    return budgets([row for row in rows if row.aggregation not in (BEAM_SEARCH, BEAM_VOTE)]) or budgets(rows)


def _panel_of_aggregation(rows: Sequence[CurveRow], aggregation: str) -> Panel:
    lines = [
        Line(trial.name, line, trial.colour, trial.marker)
        for trial in trials(rows)
        if (line := curve(rows, aggregation, trial.name))
    ]
    return Panel(title(aggregation), lines, curve(rows, RANDOM_GUESS) if aggregation == COVERAGE else [])


def _panel_of_trial(rows: Sequence[CurveRow], trial: str) -> Panel:
    lines = []
    for name, look in _looks(aggregations(rows)).items():
        owners = [one.name for one in trials(rows) if curve(rows, name, one.name)]
        for rank, owner in enumerate(owners):
            label = title(name) if len(owners) == 1 else f"{title(name)}, {owner}"
            colour = _shade(look.colour, rank, len(owners))
            lines.append(Line(label, curve(rows, name, owner), colour, look.marker, look.dashed))
    return Panel(trial, lines, curve(rows, RANDOM_GUESS))


def _looks(names: Sequence[str]) -> dict[str, Look]:
    """Looks of the aggregations where one picture shows them all; those without one take the next of the palette."""
    looks: dict[str, Look] = {}
    spare = _FIRST_SPARE
    for name in names:
        own = AGGREGATIONS[name].look if name in AGGREGATIONS else _BEAM_LOOKS.get(name)
        looks[name] = own or _palette(spare)
        spare += own is None
    return looks


def _palette(index: int) -> Look:
    """Return a hue and a marker that no smaller index has together, for as many indices as there are pairs."""
    turn, place = divmod(index, len(_PALETTE))
    return Look(_PALETTE[place].colour, _PALETTE[(place + turn) % len(_PALETTE)].marker)


def _is_beam(rows: Sequence[CurveRow], trial: TrialStyle) -> bool:
    return all(row.aggregation in (BEAM_SEARCH, BEAM_VOTE) for row in rows if row.trial == trial.name)


def _shade(colour: str, rank: int, siblings: int) -> str:
    """A hue as "#rrggbb": light for the first of its siblings, dark for the last."""
    hue = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    # From -1, nearly white, over 0, the hue itself, to 1, nearly black; neither end is reached.
    tone = 0.0 if siblings == 1 else 2 * rank / (siblings - 1) - 1
    towards, share = (255, -0.5 * tone) if tone < 0 else (0, 0.55 * tone)
    return "#" + "".join(f"{round(part + share * (towards - part)):02x}" for part in hue)


def _natural(name: str) -> tuple[tuple[str, float], ...]:
    """Sort key under which the numbers in a name count as numbers: "n=4" before "n=16"."""
    parts = _NUMBER.split(name)
    return tuple((text, float(number)) for text, number in zip(parts[::2], [*parts[1::2], "-inf"], strict=True))
