"""Linear layers whose weights lie in memory as the products of a CPU read them.

oneDNN multiplies with weights that were laid out once 10 % faster than the usual product, and about twice as fast where
there are few rows.
"""

import platform
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_NARROWEST = 256
"""With fewer features on either side the usual product is faster."""
_X86 = frozenset({"x86_64", "amd64"})
"""Processors for which torch brings oneDNN's own kernels."""

_onednn: Any = torch.ops.mkldnn


class PackedLinear(nn.Module):
    """A linear layer, [..., in_features] to [..., out_features], that is there to be applied.

    Attributes:
        weight: [out_features, in_features] in a layout of oneDNN's own, which `unpacked_weight` undoes.
        bias: [out_features], or None.
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

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer; there are no gradients."""
        outputs: Tensor = _onednn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
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


def pack_linear_layers(module: nn.Module) -> None:
    """Replace the linear layers within a module by packed ones, where these are faster.

    Their weights can be neither trained nor loaded anew afterwards.

    Args:
        module: Any module; it is changed in place.
    """
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            weight = _weight(layer)
            if weight is not None and packable(weight):
                setattr(parent, name, PackedLinear(weight, getattr(layer, "bias", None)))


def _weight(layer: nn.Module) -> Tensor | None:
    """Return the weight of a linear layer as [out_features, in_features], or None where it is another layer."""
    # Not of subclasses, which may do something else with it.
    if type(layer) is nn.Linear:
        return layer.weight
    return layer.weight.T if type(layer) is Conv1D else None
