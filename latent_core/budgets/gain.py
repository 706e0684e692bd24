"""Expected gain: draw more where it pays most, and stop the sure and the hopeless alike."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from latent_core.budgets.base import BudgetRule, Decide, register_rule
from latent_core.budgets.gain_features import GAINING, gain_features, table_name
from latent_core.budgets.gain_table import GainTable, GainTables, chain_of
from latent_core.budgets.prefix import Prefix
from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from latent_core.selection.estimators import BoolArray


@register_rule
class Gain(BudgetRule):
    """Goes on while the expected gain per further sample is above a price.

    What is expected was fitted on the LatentRM's validation questions (`latent_core.budgets.gain_table`). The price is
    `min_gain`, or the one at which these questions got `mean` samples in the mean; either way it is the same for all
    questions, so that a pooled budget goes to the largest gains first, and each question is decided by itself.

    Attributes:
        min_gain: Least gain in accuracy per further sample that is worth it, such as 0.001.
        mean: Samples of a question in the mean, at most. Exactly one of both is given.
        aggregation: Whose accuracy is to gain.
        own_confidence: Whether the reasoner's own confidence in its answers tells as well how likely they are right.
    """

    kind: ClassVar[str] = "gain"
    needs_scores: ClassVar[bool] = True
    needs_fitted: ClassVar[bool] = True

    min_gain: float | None = Field(default=None, ge=0.0, lt=1.0)
    mean: float | None = Field(default=None, ge=1.0)
    aggregation: str = "weighted_vote"
    own_confidence: bool = False

    @model_validator(mode="after")
    def _one_price(self) -> "Gain":
        if (self.min_gain is None) == (self.mean is None):
            raise ValueError("give exactly one of min_gain and mean")
        return self

    @model_validator(mode="after")
    def _known_aggregation(self) -> "Gain":
        if self.aggregation not in GAINING:
            raise ValueError(
                f"no gains of aggregation {self.aggregation!r}: {nearest_hint(self.aggregation, [*GAINING])}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where it says what was always so: runs that were begun before it go on with it.
        content: dict[str, Any] = plain(self)
        return content if self.own_confidence else {key: content[key] for key in content if key != "own_confidence"}

    @property
    def reads_confidence(self) -> bool:
        """Whether it was asked to look at the reasoner's own confidence."""
        return self.own_confidence

    @classmethod
    def ladder(cls, waves: Sequence[int], aggregation: str) -> list[Self]:
        """Return means from the first wave to the last, in steps of about half an octave."""
        steps = int(2 * np.log2(waves[-1] / waves[0]))
        means = [float(round(waves[0] * 2 ** (step / 2))) for step in range(1, steps)]
        return [cls(mean=mean, aggregation=aggregation) for mean in means] if aggregation in GAINING else []

    def check(self, waves: Sequence[int]) -> None:
        """Refuse a mean that no questions can have."""
        if self.mean is not None and not waves[0] <= self.mean <= waves[-1]:
            raise UserError(
                f"budget.mean: must be between the first and the last wave, {waves[0]} and {waves[-1]} (got "
                f"{self.mean:g})"
            )

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        """Return the decision: whether the state of a question is worth more than the price."""
        assert fitted is not None
        table = self._table(fitted)
        # Counts of votes take few values, which lie anywhere within their bins.
        smooth = self.own_confidence or self.aggregation != "majority_vote"
        chain = chain_of(table, waves, smooth=smooth)
        price = self.min_gain if self.min_gain is not None else chain.threshold_for(self.mean or waves[0])
        stages = {stage.samples: stage for stage in table.stages}
        worth = dict(zip(waves, chain.index, strict=False))

        def go_on(seen: Prefix) -> BoolArray:
            stage = stages[seen.samples]
            right = stage.right(
                gain_features(self.aggregation, seen, table.temperature, own_confidence=self.own_confidence)
            )
            if smooth:
                return np.asarray(np.interp(right, stage.centres, worth[seen.samples]) > price)
            return np.asarray(worth[seen.samples][np.searchsorted(stage.edges, right, side="right")] > price)

        return go_on

    def _table(self, fitted: GainTables) -> GainTable:
        if self.aggregation not in fitted.tables:
            known = [name for name in fitted.tables if name in GAINING]
            raise UserError(
                f"budget.aggregation {self.aggregation}: the LatentRM's table of gains has {', '.join(known)}"
            )
        name = table_name(self.aggregation, own_confidence=self.own_confidence)
        if name not in fitted.tables:
            raise UserError(
                "budget.own_confidence: the LatentRM's table of gains knows nothing of the reasoner's confidence; fit "
                "one that does with `latentswarm report RUN_DIR --fit-gain`, or leave own_confidence out"
            )
        return fitted.tables[name]
