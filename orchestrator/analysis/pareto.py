"""What the trials of a sweep came to by its objectives: the best one, or the Pareto front of several objectives."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.curves import CurveRow
from orchestrator.config.objective import Objective
from orchestrator.files import write_csv
from orchestrator.names import GREEDY, RANDOM_GUESS


@dataclass(frozen=True)
class Judged:
    """A trial and its objectives.

    Attributes:
        trial: Its name.
        values: One per objective; NaN where it was stopped before the objective could be computed.
        best: Whether no other trial is at least as good in all objectives and better in one.
    """

    trial: str
    values: tuple[float, ...]
    best: bool


def judge(rows: Sequence[CurveRow], objectives: Sequence[Objective]) -> list[Judged]:
    """Evaluate the objectives of every sampled trial, in the order of the rows."""
    by_trial: dict[str, list[CurveRow]] = {}
    for row in rows:
        if row.trial not in (GREEDY, RANDOM_GUESS):
            by_trial.setdefault(row.trial, []).append(row)
    values = {trial: tuple(one.value(own) for one in objectives) for trial, own in by_trial.items()}
    # All objectives as numbers that should be large.
    gains = {
        trial: tuple(value if one.mode == "max" else -value for one, value in zip(objectives, found, strict=True))
        for trial, found in values.items()
    }
    return [Judged(trial, found, _undominated(gains[trial], gains.values())) for trial, found in values.items()]


def _undominated(own: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    if any(math.isnan(value) for value in own):
        return False
    return not any(
        all(theirs >= mine for theirs, mine in zip(other, own, strict=True)) and other != own
        for other in others
        if not any(math.isnan(value) for value in other)
    )


def write_objectives_csv(judged: Sequence[Judged], objectives: Sequence[Objective], path: Path) -> None:
    """Write one line per trial: its objectives, and whether it is on the Pareto front."""
    columns = ["trial", *(one.text for one in objectives), "pareto"]
    write_csv(path, columns, ([one.trial, *one.values, one.best] for one in judged))
