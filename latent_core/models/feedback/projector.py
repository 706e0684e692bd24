"""Projector: Linear, GELU, Linear and, where the checkpoint has one, LayerNorm, as in CODI (arXiv 2502.21074)."""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from latent_core.models.feedback.base import Feedback, Shapes, layer_norm, layer_shapes, linear, register_feedback

# Numbers are places in the released module, whose dropout and activation have no tensors.
_FIRST, _SECOND, _NORM = "projector.1", "projector.3", "projector.4"


@register_feedback
class Projector(Feedback):
    """A two-layer perceptron; its inner width is read off its weights."""

    kind: ClassVar[str] = "projector"

    def __init__(self, layers: nn.Sequential) -> None:
        """Wrap the layers; most callers want `from_tensors`."""
        super().__init__()
        self.layers = layers

    @classmethod
    def prefixes(cls) -> tuple[str, ...]:
        """Return how the names of its tensors begin."""
        return ("projector.",)

    @classmethod
    def wanted(cls, hidden_size: int, shapes: Shapes) -> Shapes:
        """Return the tensors that it needs."""
        inner = shapes[f"{_FIRST}.weight"][0]
        norm = layer_shapes(_NORM, hidden_size) if f"{_NORM}.weight" in shapes else {}
        return layer_shapes(_FIRST, inner, hidden_size) | layer_shapes(_SECOND, hidden_size, inner) | norm

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], scale: float) -> Self:
        """Make it from its tensors; there is no scale in it."""
        layers = [linear(tensors, _FIRST), nn.GELU(), linear(tensors, _SECOND)]
        if f"{_NORM}.weight" in tensors:
            layers.append(layer_norm(tensors, _NORM))
        return cls(nn.Sequential(*layers))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the next inputs."""
        projected: Tensor = self.layers(hidden)
        return projected
