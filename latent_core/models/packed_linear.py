"""Linear layers whose weights lie in memory as the products of a CPU read them.

oneDNN multiplies with weights that were laid out once 10 % faster than the usual product, and about twice as fast where
there are few rows. It also applies an activation to what it has just computed, for next to nothing: as a pass of its
own GELU takes as long as the product before it where that is in bfloat16.
"""

import platform
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_NARROWEST = 256
"""With fewer features on either side the usual product is faster."""
_X86 = frozenset({"x86_64", "amd64"})
"""Processors for which torch brings oneDNN's own kernels."""

_onednn: Any = torch.ops.mkldnn


class Activation(NamedTuple):
    """An activation as oneDNN names it: "gelu" with algorithm "tanh" or "none", "swish"."""

    name: str
    algorithm: str = ""

    def function(self, inputs: Tensor) -> Tensor:
        """Return it applied by itself."""
        if self.name == "swish":
            return nn.functional.silu(inputs)
        return nn.functional.gelu(inputs, approximate=self.algorithm)


_LINEAR = Activation("none")


class PackedLinear(nn.Module):
    """A linear layer, [..., in_features] to [..., out_features], that is there to be applied.

    Attributes:
        weight: [out_features, in_features] in a layout of oneDNN's own, which `unpacked_weight` undoes.
        bias: [out_features], or None.
        activation: What `activated` applies behind the layer, or None.
        activates: Whether the layer does so when it is called.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Lay a weight out.

        Args:
            weight: [out_features, in_features], float32 or bfloat16, on the CPU.
            bias: [out_features], or None.
        """
        super().__init__()
        packed: Tensor = _onednn._reorder_linear_weight(weight.detach().contiguous())
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.activation: Activation | None = None
        self.activates = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer; there are no gradients."""
        return self.activated(inputs) if self.activates else self.linear(inputs)

    def linear(self, inputs: Tensor) -> Tensor:
        """Apply the layer without its activation."""
        return self._followed_by(_LINEAR, inputs)

    def activated(self, inputs: Tensor) -> Tensor:
        """Apply the layer and its activation."""
        assert self.activation is not None
        return self._followed_by(self.activation, inputs)

    def _followed_by(self, activation: Activation, inputs: Tensor) -> Tensor:
        name, algorithm = activation
        outputs: Tensor = _onednn._linear_pointwise(inputs, self.weight, self.bias, name, [], algorithm)
        return outputs

    def unpacked_weight(self) -> Tensor:
        """Return a copy of the weight as other layers have it, [out_features, in_features]."""
        return self.weight.to_dense()


def packable(weight: Tensor) -> bool:
    """Return whether a layer with a weight, [out_features, in_features], is faster when it is packed."""
    return min(weight.shape) >= _NARROWEST and can_pack(weight)


def can_pack(weight: Tensor) -> bool:
    """Return whether this processor multiplies with a packed weight, [out_features, in_features], at all."""
    if weight.device.type != "cpu" or platform.machine().lower() not in _X86:
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and bool(_onednn._is_mkldnn_bf16_supported())
    )
