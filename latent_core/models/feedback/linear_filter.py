"""Linear filter: a linear map of the last hidden state, and a norm, as in adaptive latent reasoning."""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from latent_core.models.feedback.base import Feedback, Shapes, layer_norm, layer_shapes, linear, register_feedback

_LINEAR, _NORM, _SHIFT = "linear_filter.linear", "linear_filter.norm", "linear_filter.shift"


@register_feedback
class LinearFilter(Feedback):
    """Linear, then LayerNorm; or RMSNorm where the norm has no bias, and a shift where there is one."""

    kind: ClassVar[str] = "linear_filter"

    def __init__(self, layers: nn.Sequential, shift: Tensor | None) -> None:
        """Wrap the layers; most callers want `from_tensors`."""
        super().__init__()
        self.layers = layers
        self.shift = None if shift is None else nn.Parameter(shift, requires_grad=False)

    @classmethod
    def prefixes(cls) -> tuple[str, ...]:
        """Return how the names of its tensors begin."""
        return ("linear_filter.",)

    @classmethod
    def wanted(cls, hidden_size: int, shapes: Shapes) -> Shapes:
        """Return the tensors that it needs."""
        norm = layer_shapes(_NORM, hidden_size)
        if f"{_NORM}.bias" not in shapes:
            norm = {f"{_NORM}.weight": (hidden_size,)}
        shift: Shapes = {_SHIFT: (hidden_size,)} if _SHIFT in shapes else {}
        return {**layer_shapes(_LINEAR, hidden_size, hidden_size), **norm, **shift}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], scale: float) -> Self:
        """Make it from its tensors; there is no scale in it."""
        norm: nn.Module
        if f"{_NORM}.bias" in tensors:
            norm = layer_norm(tensors, _NORM)
        else:
            weight = tensors[f"{_NORM}.weight"]
            norm = nn.RMSNorm(weight.shape[0], device="meta")
            norm.load_state_dict({"weight": weight}, assign=True)
        return cls(nn.Sequential(linear(tensors, _LINEAR), norm), tensors.get(_SHIFT))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the next inputs."""
        filtered: Tensor = self.layers(hidden)
        return filtered if self.shift is None else filtered + self.shift
