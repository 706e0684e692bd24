"""How a list of curve rows is shown to people: which trials, in which order, in which colours, under which headings.

Tables and plots share it, so that a setting has the same place and the same looks in all of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.curves import CurveRow
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE, GREEDY, RANDOM_GUESS

COVERAGE = "coverage"
X_LABEL, Y_LABEL = "samples per question N", "correct, % of questions"
GREEDY_COLOUR, GUESS_COLOUR = "#222222", "#808080"
# Okabe & Ito's palette (jfly.uni-koeln.de/color), which stays distinct under all common colour blindnesses.
_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
_HEADINGS = {
    COVERAGE: "coverage (pass@N)",
    "best_of_n": "best-of-N (LatentRM)",
    "weighted_vote": "weighted vote (LatentRM)",
    "best_of_n_answer": "best-of-N (answer-aware)",
    "weighted_vote_answer": "weighted vote (answer-aware)",
    BEAM_SEARCH: "beam search (LatentRM)",
    BEAM_VOTE: "beam search + vote (LatentRM)",
}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


@dataclass(frozen=True)
class TrialStyle:
    """One sampler setting.

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
        return shade(self.family, self.rank, self.siblings)


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


def aggregations(rows: Sequence[CurveRow]) -> list[str]:
    """The aggregations to show, in the order of their first rows.

    Greedy decoding and guesses have no table or panel of their own: without any curve they are shown under coverage.
    """
    names = dict.fromkeys(row.aggregation for row in rows)
    return [name for name in names if name not in (GREEDY, RANDOM_GUESS)] or ([COVERAGE] if rows else [])


def heading(aggregation: str) -> str:
    """What an aggregation is called in a title."""
    return _HEADINGS.get(aggregation, aggregation.replace("_", " "))


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


def shade(hue_index: int, rank: int, siblings: int) -> str:
    """One of the hues as "#rrggbb": light for the first of its siblings, dark for the last."""
    hue = [int(_HUES[hue_index % len(_HUES)][start : start + 2], 16) for start in (1, 3, 5)]
    # From -1, nearly white, over 0, the hue itself, to 1, nearly black; neither end is reached.
    tone = 0.0 if siblings == 1 else 2 * rank / (siblings - 1) - 1
    towards, share = (255, -0.5 * tone) if tone < 0 else (0, 0.55 * tone)
    return "#" + "".join(f"{round(part + share * (towards - part)):02x}" for part in hue)


def _natural(name: str) -> tuple[tuple[str, float], ...]:
    """Sort key under which the numbers in a name count as numbers: "n=4" before "n=16"."""
    parts = _NUMBER.split(name)
    return tuple((text, float(number)) for text, number in zip(parts[::2], [*parts[1::2], "-inf"], strict=True))
