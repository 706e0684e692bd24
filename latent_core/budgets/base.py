"""Stopping rule: after each wave of samples of a question, decides from these samples alone whether to draw more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import ValidationError

from latent_core.budgets.gain_table import GainTables
from latent_core.budgets.prefix import Prefix
from latent_core.errors import UserError
from latent_core.registry import Registry, nearest_hint
from latent_core.selection.estimators import BoolArray
from latent_core.settings import Settings, explain_validation_error

DEFAULT_WAVES = (4, 8, 16, 32, 64)
"""Samples of a question that there are at the end of each wave."""


Decide = Callable[[Prefix], BoolArray]
"""From what has been seen at the end of a wave to whether to draw the next one, [R]."""


class BudgetRule(Settings):
    """Settings of a rule and the decision it makes at the end of every wave.

    A decision is a pure function of the prefix, the waves, the settings and what was fitted on other questions: so it
    is the same while samples are drawn, after a restart, and on a store that has all samples already.
    """

    kind: ClassVar[str]
    needs_scores: ClassVar[bool] = False
    """Whether it decides by the scores of a LatentRM."""
    needs_fitted: ClassVar[bool] = False
    """Whether it decides by what was fitted on the LatentRM's validation questions."""

    @property
    def reads_confidence(self) -> bool:
        """Whether it decides by the reasoner's own confidence: online, that is read for such rules alone."""
        return False

    @classmethod
    def ladder(cls, waves: Sequence[int], aggregation: str) -> list[Self]:
        """Return settings that draw its curve of accuracy over mean samples, for reports; by default the default one.

        Args:
            waves: Samples of a question at the end of each wave.
            aggregation: Whose accuracy is drawn.
        """
        return [cls()]

    @classmethod
    def replayed_at(cls, waves: tuple[int, ...]) -> tuple[int, ...]:
        """Return the waves at which reports replay it, by default those of all rules; the horizon stays."""
        return waves

    def check(self, waves: Sequence[int]) -> None:
        """Refuse waves that the rule cannot work with.

        Raises:
            UserError: With what does not fit.
        """

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        """Return the decision at the end of every wave but the last, where nothing is left to decide.

        Args:
            waves: Samples of a question at the end of each wave, increasing; the last one is the horizon.
            fitted: What was fitted on other questions; None where the rule needs nothing.

        Raises:
            UserError: If what was fitted does not serve these waves.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """Return the setting in words a person can read, such as "posterior confidence=0.9"; defaults are left out."""
        fields = type(self).model_fields.items()
        said = [(name, getattr(self, name)) for name, field in fields if getattr(self, name) != field.default]
        words = [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in said]
        return " ".join([self.kind, *words])


@dataclass(frozen=True)
class Budget:
    """A rule and the waves in which it is asked.

    Attributes:
        rule: The rule.
        waves: Samples of a question at the end of each wave.

    Raises:
        UserError: If the waves do not increase, or do not suit the rule.
    """

    rule: BudgetRule
    waves: tuple[int, ...] = DEFAULT_WAVES

    def __post_init__(self) -> None:
        """Refuse waves that are none."""
        shown = list(self.waves)
        if not shown or shown[0] < 1 or any(later <= earlier for earlier, later in pairwise(shown)):
            raise UserError(f"budget.waves: must be at least 1 and increase from wave to wave (got {shown})")
        self.rule.check(self.waves)

    @property
    def horizon(self) -> int:
        """Most samples that a question can get."""
        return self.waves[-1]

    def prepare(self, *, scored: bool, fitted: GainTables | None = None, confident: bool = True) -> Decide:
        """Return the decision at the end of a wave: whether a question goes on, False for all at the horizon.

        Args:
            scored: Whether a LatentRM scores the samples.
            fitted: What was fitted on the LatentRM's validation questions, where it is there.
            confident: Whether all samples say how sure the reasoner was of its answers; older ones do not.

        Raises:
            UserError: If the rule needs what is not there.
        """
        if self.rule.needs_scores and not scored:
            raise UserError(
                f"budget.rule {self.rule.kind}: decides by the scores of a LatentRM, and nothing scores these samples; "
                "give scorer.checkpoint, or take a rule that looks at votes alone, such as posterior"
            )
        if self.rule.needs_fitted and fitted is None:
            raise UserError(
                f"budget.rule {self.rule.kind}: the LatentRM has no table of gains beside its weights; fit one with "
                "`latentswarm report RUN_DIR --fit-gain`, or take a rule that needs none, such as posterior"
            )
        if self.rule.reads_confidence and not confident:
            raise UserError(
                f"budget.rule {self.rule.describe()}: looks at the reasoner's own confidence, and some of these "
                "trajectories are older than the record of it; sample into another store.path, or take a rule that "
                "does not look at it"
            )
        decide = self.rule.prepare(self.waves, fitted)

        def go_on(seen: Prefix) -> BoolArray:
            if seen.samples not in self.waves:
                raise ValueError(f"{seen.samples} samples are not the end of a wave of {list(self.waves)}")
            if seen.samples == self.horizon:
                return np.zeros(len(seen.votes), dtype=np.bool_)
            return decide(seen)

        return go_on

    def to_config(self) -> dict[str, Any]:
        """Return the complete setting as plain data, `rule` first; `parse_budget` reads it back."""
        return {"rule": self.rule.kind, "waves": list(self.waves), **self.rule.model_dump(mode="json")}


RULES: Registry[type[BudgetRule]] = Registry("budget rule", "latent_core.budgets", group="budgets")

R = TypeVar("R", bound=type[BudgetRule])


def register_rule(cls: R) -> R:
    """Class decorator that makes a rule available under its `kind`."""
    RULES.register(cls.kind, cls)
    return cls


def parse_budget(config: Mapping[str, Any]) -> Budget:
    """Build a budget from `{"rule": name, "waves": [...], setting: value, ...}`; waves may be left out.

    Raises:
        UserError: If the rule is unknown, a setting is unknown, a value is out of range, or waves do not increase.
    """
    settings = dict(config)
    kind, waves = settings.pop("rule", None), settings.pop("waves", None)
    if not isinstance(kind, str):
        raise UserError(f"budget.rule: missing; {nearest_hint('', list(RULES))}")
    cls = RULES[kind]
    try:
        rule = cls.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain_validation_error(error, cls, "budget", f" of budget rule {kind!r}")) from None
    if waves is None:
        return Budget(rule)
    if not isinstance(waves, list | tuple) or not all(type(n) is int for n in waves):
        raise UserError(f"budget.waves: must be a list of whole numbers such as {list(DEFAULT_WAVES)} (got {waves!r})")
    return Budget(rule, tuple(waves))
