"""Objectives that read one curve of a trial: its accuracy, its area, what it costs, and what a FLOP brings."""

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import numpy as np

from orchestrator.config.objective import (
    AGGREGATION,
    Expression,
    Objective,
    Point,
    parse_objective,
    register_objective,
)

_TERA = 1e12
_COST_OF = "coverage"
"""The aggregation whose cost is that of sampling alone."""


@dataclass(frozen=True)
class CurveObjective(Objective):
    """An objective that is a function of the points of one curve up to a budget."""

    @abstractmethod
    def of(self, points: Sequence[Point]) -> float:
        """Return its value; the points, at least one, are those that count, by increasing budget."""

    def value(self, points: Sequence[Point], upto: int | None = None) -> float:
        """Return its value for one trial; see `Objective.value`."""
        limit = min(upto or math.inf, self.budget or math.inf)
        curve = [point for point in points if point.aggregation == self.aggregation and point.n <= limit]
        curve.sort(key=lambda point: point.n)
        own = [point for point in curve if not math.isnan(point.value)]
        # A trial that was stopped early must not be compared by a smaller budget, where it is cheaper too.
        if upto is None and own != curve:
            return math.nan
        # A budget that has been asked for and is within reach is not replaced by a smaller one.
        wanted = self.budget if self.budget is not None and (upto is None or upto >= self.budget) else None
        if not own or wanted not in (None, own[-1].n):
            return math.nan
        return self.of(own)


@register_objective(AGGREGATION)
@dataclass(frozen=True)
class Accuracy(CurveObjective):
    """Accuracy of an aggregation at a budget, as a fraction of 1."""

    forms: ClassVar[tuple[str, ...]] = (AGGREGATION, f"{AGGREGATION}@N")
    is_accuracy: ClassVar[bool] = True

    @classmethod
    def parse(cls, expression: Expression) -> Self:
        """Read AGGREGATION or AGGREGATION@N."""
        if expression.argument is not None:
            raise expression.unreadable()
        return cls(expression.text, expression.aggregation(expression.name), expression.budget)

    def of(self, points: Sequence[Point]) -> float:
        """Return the last value."""
        return points[-1].value

    @property
    def label(self) -> str:
        """The expression and its unit."""
        return f"{self.text} (share right)"


@register_objective("area")
@dataclass(frozen=True)
class Area(CurveObjective):
    """Mean accuracy over the logarithm of the budget, by trapezoids."""

    forms: ClassVar[tuple[str, ...]] = (f"area({AGGREGATION})",)
    is_accuracy: ClassVar[bool] = True

    @classmethod
    def parse(cls, expression: Expression) -> Self:
        """Read area(AGGREGATION)."""
        if expression.argument is None or not re.fullmatch(r"\w+", expression.argument):
            raise expression.unreadable()
        return cls(expression.text, expression.aggregation(expression.argument))

    def of(self, points: Sequence[Point]) -> float:
        """Return the mean; of a single point, its value."""
        if len(points) == 1:
            return points[0].value
        logs = np.log2([point.n for point in points])
        return float(np.trapezoid([point.value for point in points], logs) / (logs[-1] - logs[0]))

    @property
    def label(self) -> str:
        """The expression and its unit."""
        return f"{self.text} (share right)"


@register_objective("flops")
@dataclass(frozen=True)
class Cost(CurveObjective):
    """Cost of sampling in TFLOPs per question, expected and with prompts read once."""

    forms: ClassVar[tuple[str, ...]] = ("flops", "flops@N")
    mode: ClassVar[Literal["max", "min"]] = "min"

    @classmethod
    def parse(cls, expression: Expression) -> Self:
        """Read flops or flops@N."""
        if expression.argument is not None:
            raise expression.unreadable()
        return cls(expression.text, _COST_OF, expression.budget)

    def of(self, points: Sequence[Point]) -> float:
        """Return the cost of the last point."""
        return _cost(points[-1])

    @property
    def label(self) -> str:
        """The expression and its unit."""
        return f"{self.text} (TFLOPs per question)"


@register_objective("per_flop")
@dataclass(frozen=True)
class PerFlop(CurveObjective):
    """Any accuracy divided by what it costs, scoring included."""

    inner: CurveObjective = field(kw_only=True)

    forms: ClassVar[tuple[str, ...]] = ("per_flop(...)",)

    @classmethod
    def parse(cls, expression: Expression) -> Self:
        """Read per_flop(...) of an accuracy."""
        if expression.argument is None:
            raise expression.unreadable()
        inner = parse_objective(expression.argument)
        if not isinstance(inner, CurveObjective) or not inner.is_accuracy:
            raise expression.refuse(": only an accuracy can be divided by its cost")
        return cls(expression.text, inner.aggregation, inner.budget, inner=inner)

    def of(self, points: Sequence[Point]) -> float:
        """Return the quotient."""
        return self.inner.of(points) / _cost(points[-1])

    @property
    def label(self) -> str:
        """The expression and its unit."""
        return f"{self.text} (per TFLOP of a question)"


def _cost(point: Point) -> float:
    return point.flops / _TERA * point.n / point.trajectories
