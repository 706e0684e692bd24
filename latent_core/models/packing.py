"""Packing: the linear layers of a model are laid out for speed, and apply the activations behind them."""

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from latent_core.models.fused_activation import fuse_activations
from latent_core.models.packed_linear import PackedLinear, packable


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
    fuse_activations(module)


def _weight(layer: nn.Module) -> Tensor | None:
    """Return the weight of a linear layer as [out_features, in_features], or None where it is another layer."""
    # Not of subclasses, which may do something else with it.
    if type(layer) is nn.Linear:
        return layer.weight
    return layer.weight.T if type(layer) is Conv1D else None
