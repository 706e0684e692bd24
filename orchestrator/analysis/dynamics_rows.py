"""Rows of `dynamics.csv`: what the samples of a trial do, latent step by latent step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from latent_core.selection.intervals import Interval
from orchestrator.files import write_csv

UNKNOWN: Final = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class DynamicsRow:
    """One line of `dynamics.csv`.

    Attributes:
        trial: Name of the sampler setting.
        sampler: Name of the sampler.
        measure: A name of `latent_core.dynamics.dynamics.MEASURES`.
        step: Latent step, from 1 on.
        value: Its value over all questions.
        lo: Lower end of its 95 % interval; NaN where it has none.
        hi: Upper end.
        questions: How many questions it is of.
        samples: Samples per question.
    """

    trial: str
    sampler: str
    measure: str
    step: int
    value: float
    lo: float
    hi: float
    questions: int
    samples: int


COLUMNS = tuple(entry.name for entry in fields(DynamicsRow))


@dataclass(frozen=True)
class TrialDynamics:
    """The dynamics of one trial.

    Attributes:
        trial: Its name.
        rows: Its lines of `dynamics.csv`; none where no latents are stored.
        dispersion: Mean pairwise cosine distance of the last latents; NaN where it is not known.
        missing: What could not be computed, and why, a line each.
        width: Hidden size; 0 where no latents are stored.
    """

    trial: str
    rows: Sequence[DynamicsRow] = ()
    dispersion: Interval = UNKNOWN
    missing: Sequence[str] = ()
    width: int = 0

    def summary(self) -> dict[str, Any]:
        """Return it for `summary.json`: by measure, its values step by step; and what is missing."""
        values: dict[str, dict[str, float]] = {}
        for row in self.rows:
            values.setdefault(row.measure, {})[str(row.step)] = row.value
        return {"samples": self.rows[0].samples if self.rows else 0, **values, "missing": list(self.missing)}


def write_dynamics_csv(dynamics: Sequence[TrialDynamics], path: Path) -> None:
    """Write the dynamics of all trials; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, ([getattr(row, name) for name in COLUMNS] for one in dynamics for row in one.rows))
