"""Latent head: predicts the mean of the next compressed embedding, in units of the embeddings' spread, as in CoLaR.

arXiv 2505.16552: Linear, GELU, Linear, LayerNorm, then a linear map back to the hidden size, times
`latent_embedding_std`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from latent_core.models.feedback.base import Feedback, Shapes, layer_norm, layer_shapes, linear, register_feedback

_FIRST, _SECOND, _NORM, _MEAN = "lt_head.fc.0", "lt_head.fc.2", "lt_head.fc.3", "lt_head.mean"


@register_feedback
class LatentHead(Feedback):
    """A three-layer perceptron and a scale; its inner width is read off its weights."""

    kind: ClassVar[str] = "latent_head"
    scaled: ClassVar[bool] = True

    def __init__(self, layers: nn.Sequential, scale: float) -> None:
        """Wrap the layers; most callers want `from_tensors`."""
        super().__init__()
        self.layers = layers
        self.scale = scale

    @classmethod
    def prefixes(cls) -> tuple[str, ...]:
        """Return how the names of its tensors begin."""
        return ("lt_head.",)

    @classmethod
    def wanted(cls, hidden_size: int, shapes: Shapes) -> Shapes:
        """Return the tensors that it needs."""
        inner = shapes[f"{_FIRST}.weight"][0]
        return (
            layer_shapes(_FIRST, inner, hidden_size)
            | layer_shapes(_SECOND, inner, inner)
            | layer_shapes(_NORM, inner)
            | layer_shapes(_MEAN, hidden_size, inner)
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], scale: float) -> Self:
        """Make it from its tensors."""
        layers = [linear(tensors, _FIRST), nn.GELU(), linear(tensors, _SECOND), layer_norm(tensors, _NORM)]
        return cls(nn.Sequential(*layers, linear(tensors, _MEAN)), scale)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the next inputs."""
        mean: Tensor = self.layers(hidden)
        return mean * self.scale
