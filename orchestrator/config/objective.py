"""Objectives of a sweep: parser of the short expressions that say what is to be made large or small.

`best_of_n` is the accuracy of an aggregation at the largest budget, `best_of_n@16` at that of 16 samples,
`area(best_of_n)` the mean accuracy over the logarithm of the budget; `flops`, or `flops@16`, is what sampling costs, in
TFLOPs per question; `per_flop(...)` divides any accuracy by what it costs.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latent_core.registry import nearest_hint
from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.analysis.curves import CurveRow
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE

FLOPS = "flops"
_TERA = 1e12
_COST_OF = "coverage"
"""The aggregation whose cost is that of sampling alone."""
_ACCURACY = re.compile(r"(?P<name>\w+)(@(?P<budget>[1-9]\d*))?")
_AREA = re.compile(r"area\((?P<name>\w+)\)")
_PER_FLOP = re.compile(r"per_flop\((?P<inner>.+)\)")


@dataclass(frozen=True)
class Objective:
    """One number per trial.

    Attributes:
        text: The expression.
        aggregation: Whose curve it reads; None for the cost of sampling.
        budget: Where it reads the curve; None for the largest budget.
        area: Whether it is the mean over the logarithm of the budget.
        per_flop: Whether it is divided by the cost.
    """

    text: str
    aggregation: str | None
    budget: int | None = None
    area: bool = False
    per_flop: bool = False

    @property
    def mode(self) -> Literal["max", "min"]:
        """Whether it should be large or small."""
        return "min" if self.aggregation is None else "max"

    @property
    def key(self) -> str:
        """A name that Ray Tune and MLflow accept."""
        return self.text.replace("@", "_at_").replace("(", "_").replace(")", "")

    @property
    def searched(self) -> bool:
        """Whether it comes from a beam search, which is known at the end of a trial only."""
        return self.aggregation in (BEAM_SEARCH, BEAM_VOTE)

    def value(self, rows: Sequence[CurveRow], upto: int | None = None) -> float:
        """Return its value for one trial.

        Args:
            rows: The trial's curves.
            upto: Largest budget that counts, for a trial that is still running; all of them where it is not given.

        Returns:
            The value; NaN where the rows do not have what is needed. Accuracies are fractions of 1, costs TFLOPs per
            question, expected and with prompts read once.
        """
        limit = min(upto or math.inf, self.budget or math.inf)
        curve = [row for row in rows if row.aggregation == (self.aggregation or _COST_OF) and row.n <= limit]
        curve.sort(key=lambda row: row.n)
        own = [row for row in curve if not math.isnan(row.value)]
        # A trial that was stopped early must not be compared by a smaller budget, where it is cheaper too.
        if upto is None and own != curve:
            return math.nan
        # A budget that has been asked for and is within reach is not replaced by a smaller one.
        wanted = self.budget if self.budget is not None and (upto is None or upto >= self.budget) else None
        if not own or wanted not in (None, own[-1].n):
            return math.nan
        last = own[-1]
        cost = last.flops / _TERA * last.n / last.trajectories
        if self.aggregation is None:
            return cost
        accuracy = _area(own) if self.area else last.value
        return accuracy / cost if self.per_flop else accuracy


def parse_objective(text: str) -> Objective:
    """Read an expression.

    Raises:
        ValueError: If it is none, or names an unknown aggregation.
    """
    if inner := _PER_FLOP.fullmatch(text):
        found = parse_objective(inner["inner"])
        if found.aggregation is None or found.per_flop:
            raise ValueError(f"objective {text!r}: only an accuracy can be divided by its cost")
        return Objective(text, found.aggregation, found.budget, found.area, per_flop=True)
    if area := _AREA.fullmatch(text):
        return Objective(text, _known(text, area["name"]), area=True)
    if plain := _ACCURACY.fullmatch(text):
        name = None if plain["name"] == FLOPS else _known(text, plain["name"])
        return Objective(text, name, int(plain["budget"]) if plain["budget"] else None)
    raise ValueError(
        f"objective {text!r} cannot be read: it is AGGREGATION, AGGREGATION@N, area(AGGREGATION), per_flop(...), flops "
        "or flops@N"
    )


def _known(text: str, name: str) -> str:
    known = [*AGGREGATIONS, BEAM_SEARCH, BEAM_VOTE]
    if name not in known:
        raise ValueError(f"objective {text!r}: unknown aggregation {name!r}: {nearest_hint(name, [*known, FLOPS])}")
    return name


def _area(rows: Sequence[CurveRow]) -> float:
    """Mean of the values over the logarithm of the budget, by trapezoids."""
    if len(rows) == 1:
        return rows[0].value
    logs = np.log2([row.n for row in rows])
    return float(np.trapezoid([row.value for row in rows], logs) / (logs[-1] - logs[0]))
