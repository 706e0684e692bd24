"""Singular-value perturbation: every trajectory thinks with a slightly different weight of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from latent_core.randomness import Streams
from latent_core.samplers.base import (
    LEAST_STRENGTH,
    DrawSite,
    ModulePerturbation,
    Phase,
    Projection,
    SingularFactors,
    nothing_or_at_least,
    phases_in_order,
    register_sampler,
)
from latent_core.samplers.thought_sampler import ANSWER_SETTINGS, ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class SingularValuePerturbation(ThoughtSampler):
    """Scales the singular values of a projection by 1 + alpha g, g ~ N(0, I), one draw per layer and trajectory.

    With W = U diag(s) V^T, a trajectory thinks with W' = U diag(s (1 + alpha g)) V^T in every layer, held while it
    reads the prompt and for all latent steps; the answer is decoded with W. No weight is ever made per trajectory:
    x W' = x W + alpha ((x U) * (s g)) V^T.

    Attributes:
        alpha: Relative standard deviation of the singular values.
        projection: Which weight of each block.
        scope: The phases in which it acts. With "prompt" every sample reads its own prompt, and nothing is shared
            between the samples of a question. With "boundary" every sample reads the prompt's last position.
    """

    kind: ClassVar[str] = "singular_value"
    silent: ClassVar[tuple[str, ...]] = ANSWER_SETTINGS

    alpha: float = Field(ge=0.0)
    projection: Projection = Projection.ATTENTION_VALUE
    scope: tuple[Phase, ...] = (Phase.PROMPT, Phase.LATENT)

    @field_validator("alpha")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_STRENGTH, value, "smaller changes vanish in single precision")

    @field_validator("scope")
    @classmethod
    def _some_and_in_order(cls, value: tuple[Phase, ...]) -> tuple[Phase, ...]:
        return phases_in_order(value)

    @property
    def perturbs_prompt(self) -> bool:
        """Whether the prompt is in scope."""
        return Phase.PROMPT in self.scope and self.alpha > 0.0

    @property
    def perturbs_boundary(self) -> bool:
        """Whether the last position of the prompt is in scope, and what precedes it is not."""
        return Phase.BOUNDARY in self.scope and self.alpha > 0.0

    @property
    def perturbs_forward(self) -> bool:
        """Whether the latent steps are in scope."""
        return Phase.LATENT in self.scope and self.alpha > 0.0

    @property
    def deterministic(self) -> bool:
        """True where no singular value is ever changed, and answers are greedy."""
        return self.alpha == 0.0 and self.is_greedy

    def projections(self, phase: Phase) -> frozenset[Projection]:
        """Return the projection where the phase is in scope."""
        return frozenset({self.projection}) if phase in self.scope and self.alpha > 0.0 else frozenset()

    def perturbation(self, phase: Phase, streams: Streams, step: Tensor | int) -> ModulePerturbation | None:
        """Return the scaled weights where the phase is in scope."""
        if phase not in self.scope or self.alpha == 0.0:
            return None
        return _ScaledSingularValues(self, streams)


class _ScaledSingularValues(ModulePerturbation):
    """The weights of one forward pass; the draws are those of the whole trajectory."""

    def __init__(self, sampler: SingularValuePerturbation, streams: Streams) -> None:
        self.projections = frozenset({sampler.projection})
        self._alpha = sampler.alpha
        self._streams = streams

    def on_projection(
        self, projection: Projection, layer: int, inputs: Tensor, output: Tensor, factors: SingularFactors
    ) -> Tensor:
        # Step 0 for all positions: the weight of a trajectory is drawn once.
        drawn = self._streams.normal(0, DrawSite.of_projection(projection, layer), len(factors.values))
        scale = (self._alpha * drawn).to(output.dtype) * factors.values
        rows, positions = inputs.shape[:2]
        scaled = _rows(inputs, factors.left).unflatten(0, (rows, positions)) * scale[:, None, :]
        change: Tensor = _rows(scaled, factors.right).unflatten(0, (rows, positions))
        return output + change


def _rows(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Multiply vectors, [rows, positions, k], with a matrix, [k, n]; returns [rows * positions, n]."""
    from latent_core.row_invariance import row_product

    return row_product(inputs.flatten(0, 1), matrix)
