"""By difficulty: for which questions does sampling more, or choosing better, make a difference?

Questions are binned by the share of their samples that is right, trial by trial. That estimate of difficulty comes
from the same samples as the values in the bins, so it selects on their noise: a question that was lucky lands in an
easier bin, and looks easier there than it is. For "never" and "always" this goes all the way: whatever chooses among
the samples of such questions has 0 and 1 by construction, and so has coverage at a budget that takes all samples, which
is 1 in every bin but "never". Where a value follows from the bin like this, its interval has no width.
Greedy decoding and beam searches draw nothing from those samples; their values in a bin are fair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from latent_core.selection.aggregations import AGGREGATIONS
from latent_core.selection.estimators import FloatArray, IntArray
from latent_core.selection.intervals import Interval, mean_interval
from orchestrator.files import write_csv

NEVER, ALWAYS = "never", "always"
BINS = (NEVER, "(0, 0.25]", "(0.25, 0.5]", "(0.5, 0.75]", "(0.75, 1)", ALWAYS)
"""The bins, by the share of a question's samples that is right."""

NOTE = (
    "Questions are binned by the share of the trial's own samples that is right, so bins and values share their noise: "
    'whatever chooses among these samples has 0 % in "never" and 100 % in "always" by construction, and coverage by '
    "all of them is 100 % in every bin between."
)
"""What has to stand wherever these numbers are shown."""

_QUARTERS = 4


@dataclass(frozen=True)
class DifficultyRow:
    """One line of `difficulty.csv`.

    Attributes:
        trial: Name of the sampler setting.
        aggregation: A key of `AGGREGATIONS`, or "beam_search", "beam_vote" or "greedy".
        n: Budget: samples per question.
        difficulty: The bin.
        questions: Number of questions in it, at least 1.
        value: Their accuracy, as a fraction of 1.
        lo: Lower end of its 95 % interval.
        hi: Upper end of its 95 % interval.
    """

    trial: str
    aggregation: str
    n: int
    difficulty: str
    questions: int
    value: float
    lo: float
    hi: float


COLUMNS = tuple(entry.name for entry in fields(DifficultyRow))


def bins_of(correct: IntArray, samples: int) -> IntArray:
    """Return the index of each question's bin [Q].

    Counts are compared, not shares: 1 of 4 is exactly a quarter.

    Args:
        correct: [Q], how many of a question's samples are right.
        samples: Samples per question, at least 1.
    """
    # The smallest number of quarters that the share does not exceed: 0 for never, 4 for more than three.
    quarters = -(-_QUARTERS * correct // samples)
    return np.where(correct == samples, len(BINS) - 1, quarters).astype(np.int64)


def difficulty_rows(
    by_question: Mapping[int, Mapping[str, FloatArray]], correct: IntArray, samples: int, *, trial: str
) -> list[DifficultyRow]:
    """Average every aggregation at every budget over the questions of each bin; bins without questions have no row.

    Args:
        by_question: By budget and aggregation, the value of every question [Q].
        correct: [Q], how many of a question's samples are right.
        samples: Samples per question.
        trial: Name of the sampler setting.

    Returns:
        Rows by aggregation, budget and bin; none where there is a single sample, which tells no difficulty.
    """
    if samples < 2:
        return []
    bins = bins_of(correct, samples)
    members = {name: np.flatnonzero(bins == index) for index, name in enumerate(BINS)}
    names = dict.fromkeys(name for values in by_question.values() for name in values)
    return [
        DifficultyRow(
            trial,
            name,
            n,
            label,
            len(some),
            *_interval(by_question[n][name][some], _follows(name, label, all_samples=n == samples)),
        )
        for name in names
        for n in sorted(by_question)
        if name in by_question[n]
        for label, some in members.items()
        if len(some)
    ]


def best_trial(rows: Sequence[DifficultyRow], aggregation: str) -> str | None:
    """Return the trial with the highest value over all questions at the largest budget that any trial has."""
    right: dict[tuple[int, str], float] = {}
    for row in rows:
        if row.aggregation == aggregation:
            key = (row.n, row.trial)
            right[key] = right.get(key, 0.0) + row.questions * row.value
    best = max(right, key=lambda key: (key[0], right[key]), default=None)
    return None if best is None else best[1]


def write_difficulty_csv(rows: Iterable[DifficultyRow], path: Path) -> None:
    """Write rows; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, rows))


def _follows(aggregation: str, label: str, *, all_samples: bool) -> bool:
    """Whether the value of an aggregation follows from the bin, since both come from the same samples."""
    return aggregation in AGGREGATIONS and (label in (NEVER, ALWAYS) or (aggregation == "coverage" and all_samples))


def _interval(values: FloatArray, follows: bool) -> Interval:
    # Samples without a score can make a choice among right ones wrong: such a value does not follow after all.
    if follows and np.ptp(values) <= 1e-12:
        return Interval(*[float(values[0])] * 3)
    return mean_interval(values)
