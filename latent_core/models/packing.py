"""Packing: the linear layers of a model are laid out for speed, and apply the activations behind them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers.activations import GELUActivation, GELUTanh, SiLUActivation
from transformers.pytorch_utils import Conv1D

from latent_core.models.packed_linear import Activation, PackedLinear, packable

_FEED_FORWARDS = {
    "GPT2MLP": ("c_fc", "act"),
    "LlamaMLP": ("gate_proj", "act_fn"),
    "MistralMLP": ("gate_proj", "act_fn"),
    "Qwen2MLP": ("gate_proj", "act_fn"),
    "Qwen3MLP": ("gate_proj", "act_fn"),
}
"""Classes of transformers that apply an activation to all of a layer's outputs and to nothing else: names of both."""

_ACTIVATIONS = {
    GELUTanh: Activation("gelu", "tanh"),
    GELUActivation: Activation("gelu", "none"),
    SiLUActivation: Activation("swish"),
    nn.SiLU: Activation("swish"),
}


class FusedActivation(nn.Module):
    """Stands where an activation stood that the layer before applies.

    Attributes:
        function: The activation itself.
    """

    def __init__(self, function: nn.Module, layer: PackedLinear) -> None:
        """Take an activation's place behind a layer that has been told to apply it."""
        super().__init__()
        self.function = function
        # In a tuple, so that it is no part of this module.
        self._layer = (layer,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the layer has returned; activated here where it has not done so."""
        if self._layer[0].activates:
            return inputs
        outputs: Tensor = self.function(inputs)
        return outputs


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
    _fuse_activations(module)


def _fuse_activations(module: nn.Module) -> None:
    """Let packed layers apply the activations behind them, wherever it is known that nothing comes between.

    Args:
        module: Any module; it is changed in place.
    """
    for parent in list(module.modules()):
        kind = type(parent)
        if kind.__name__ not in _FEED_FORWARDS or not kind.__module__.startswith("transformers.models."):
            continue
        layer_name, function_name = _FEED_FORWARDS[kind.__name__]
        layer, function = getattr(parent, layer_name), getattr(parent, function_name)
        activation = _ACTIVATIONS.get(type(function))
        if isinstance(layer, PackedLinear) and activation is not None:
            layer.activation, layer.activates = activation, True
            setattr(parent, function_name, FusedActivation(function, layer))


@contextmanager
def without_activation(layer: nn.Module) -> Iterator[None]:
    """Within, a layer returns what it computes before its activation, which is then applied by itself."""
    if not isinstance(layer, PackedLinear) or not layer.activates:
        yield
        return
    layer.activates = False
    try:
        yield
    finally:
        layer.activates = True


def _weight(layer: nn.Module) -> Tensor | None:
    """Return the weight of a linear layer as [out_features, in_features], or None where it is another layer."""
    # Not of subclasses, which may do something else with it.
    if type(layer) is nn.Linear:
        return layer.weight
    return layer.weight.T if type(layer) is Conv1D else None
