"""Objectives of sweeps as short expressions: what a sweep tries to make large or small.

`best_of_n` is the accuracy of an aggregation at the largest budget, `best_of_n@16` at that of 16 samples,
`area(best_of_n)` the mean accuracy over the logarithm of the budget; `flops`, or `flops@16`, is what sampling costs, in
TFLOPs per question; `per_flop(...)` divides any accuracy by what it costs.

Here they are read. Their arithmetic stands in `orchestrator.analysis.objectives`, a class each, where a new one is one
new file.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self, TypeVar

from latent_core.registry import Registry, nearest_hint
from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE

AGGREGATION = "AGGREGATION"
"""Name under which the objective is registered whose expressions begin with the name of an aggregation."""

_EXPRESSION = re.compile(r"(?P<name>\w+)(?:@(?P<budget>[1-9]\d*)|\((?P<argument>.+)\))?")


class Point(Protocol):
    """A point of a curve as far as objectives read it: accuracy as a fraction of 1, and FLOPs over all questions."""

    @property
    def aggregation(self) -> str:
        """Whose curve it is on."""

    @property
    def n(self) -> int:
        """Budget."""

    @property
    def value(self) -> float:
        """Accuracy; NaN where fewer than n samples exist."""

    @property
    def trajectories(self) -> int:
        """Questions times n."""

    @property
    def flops(self) -> float:
        """Cost of n samples of every question."""


@dataclass(frozen=True)
class Expression:
    """An objective as it is written: NAME, NAME@BUDGET or NAME(ARGUMENT)."""

    text: str
    name: str
    budget: int | None = None
    argument: str | None = None

    def refuse(self, why: str) -> ValueError:
        """Return the error that says why this is no objective."""
        return ValueError(f"objective {self.text!r}{why}")

    def unreadable(self) -> ValueError:
        """Return the error that lists what can be read."""
        forms = [form for name in OBJECTIVES for form in OBJECTIVES[name].forms]
        return self.refuse(f" cannot be read: it is {', '.join(forms[:-1])} or {forms[-1]}")

    def aggregation(self, name: str) -> str:
        """Return the name of an aggregation or a beam search.

        Raises:
            ValueError: If it is neither.
        """
        known = [*AGGREGATIONS, BEAM_SEARCH, BEAM_VOTE]
        if name not in known:
            plain = [one for one in OBJECTIVES if any(re.fullmatch(r"\w+", form) for form in OBJECTIVES[one].forms)]
            hint = nearest_hint(name, [*known, *(one for one in plain if one != AGGREGATION)])
            raise self.refuse(f": unknown aggregation {name!r}: {hint}")
        return name


@dataclass(frozen=True)
class Objective(ABC):
    """One number per trial.

    Attributes:
        text: The expression.
        aggregation: Whose curve it needs.
        budget: Where it reads the curve; None for the largest budget.
        forms: How it is written, for people.
        mode: Whether it should be large or small.
        is_accuracy: Whether it is a share of right answers.
    """

    text: str
    aggregation: str
    budget: int | None = None

    forms: ClassVar[tuple[str, ...]]
    mode: ClassVar[Literal["max", "min"]] = "max"
    is_accuracy: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, expression: Expression) -> Self:
        """Read an expression that begins with the name of this objective.

        Raises:
            ValueError: If it is none.
        """

    @abstractmethod
    def value(self, points: Sequence[Point], upto: int | None = None) -> float:
        """Return its value for one trial.

        Args:
            points: The trial's curves.
            upto: Largest budget that counts, for a trial that is still running; all of them where it is not given.

        Returns:
            The value; NaN where the points do not have what is needed.
        """

    @property
    @abstractmethod
    def label(self) -> str:
        """What stands at the axis of a picture: the expression and its unit."""

    @property
    def key(self) -> str:
        """A name that Ray Tune and MLflow accept."""
        return self.text.replace("@", "_at_").replace("(", "_").replace(")", "")

    @property
    def searched(self) -> bool:
        """Whether it comes from a beam search, which is known at the end of a trial only."""
        return self.aggregation in (BEAM_SEARCH, BEAM_VOTE)


OBJECTIVES: Registry[type[Objective]] = Registry("objective", "orchestrator.analysis.objectives", group="objectives")
"""Objectives by the name with which their expressions begin."""

ObjectiveClass = TypeVar("ObjectiveClass", bound=type[Objective])


def register_objective(name: str) -> Callable[[ObjectiveClass], ObjectiveClass]:
    """Decorator that makes an objective available under the name with which its expressions begin."""

    def register(objective: ObjectiveClass) -> ObjectiveClass:
        OBJECTIVES.register(name, objective)
        return objective

    return register


def parse_objective(text: str) -> Objective:
    """Read an expression.

    Raises:
        ValueError: If it is none, or names an unknown aggregation.
    """
    found = _EXPRESSION.fullmatch(text)
    if found is None:
        raise Expression(text, "").unreadable()
    budget = int(found["budget"]) if found["budget"] else None
    name = found["name"] if found["name"] in OBJECTIVES else AGGREGATION
    return OBJECTIVES[name].parse(Expression(text, found["name"], budget, found["argument"]))
