"""Latent policy: predicts mean and deviation of the next compressed embedding, from which it was trained to draw.

The stochastic head of CoLaR (arXiv 2505.16552): Linear, GELU, Linear, LayerNorm, then one linear map each for the mean
and for the logarithm of the standard deviation, times `latent_embedding_std`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from latent_core.models.feedback.base import (
    Feedback,
    Moment,
    Shapes,
    Thought,
    layer_norm,
    layer_shapes,
    linear,
    register_feedback,
)

_FIRST, _SECOND, _NORM = "latent_policy.fc.0", "latent_policy.fc.2", "latent_policy.fc.3"
_MEAN, _DEVIATION = "latent_policy.mean", "latent_policy.log_std"


@register_feedback
class LatentPolicy(Feedback):
    """A perceptron with two outputs and a scale; its inner width is read off its weights."""

    kind: ClassVar[str] = "latent_policy"
    scaled: ClassVar[bool] = True

    def __init__(self, layers: nn.Sequential, mean: nn.Linear, log_deviation: nn.Linear, scale: float) -> None:
        """Wrap the layers; most callers want `from_tensors`."""
        super().__init__()
        self.layers, self.mean, self.log_deviation = layers, mean, log_deviation
        self.scale = scale

    @classmethod
    def prefixes(cls) -> tuple[str, ...]:
        """Return how the names of its tensors begin."""
        return ("latent_policy.",)

    @classmethod
    def wanted(cls, hidden_size: int, shapes: Shapes) -> Shapes:
        """Return the tensors that it needs."""
        inner = shapes[f"{_FIRST}.weight"][0]
        return (
            layer_shapes(_FIRST, inner, hidden_size)
            | layer_shapes(_SECOND, inner, inner)
            | layer_shapes(_NORM, inner)
            | layer_shapes(_MEAN, hidden_size, inner)
            | layer_shapes(_DEVIATION, hidden_size, inner)
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], scale: float) -> Self:
        """Make it from its tensors."""
        layers = [linear(tensors, _FIRST), nn.GELU(), linear(tensors, _SECOND), layer_norm(tensors, _NORM)]
        return cls(nn.Sequential(*layers), linear(tensors, _MEAN), linear(tensors, _DEVIATION), scale)

    def think(self, moment: Moment) -> Thought:
        """Return the mean, or what the sampler draws around it."""
        inner = self.layers(moment.hidden)
        mean, deviation = self.mean(inner) * self.scale, self.log_deviation(inner).exp() * self.scale
        return Thought(moment.sampler.draw_latent(mean, deviation, moment.streams, moment.step))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the means."""
        mean: Tensor = self.mean(self.layers(hidden))
        return mean * self.scale
