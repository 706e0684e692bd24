"""Linear layers that give a row the same bits on a CPU whatever is beside it, each by the rule that was measured."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from latent_core.models.packed_linear import PackedLinear, can_pack
from latent_core.models.packing import without_activation
from latent_core.rounding_noise import RoundingNoise
from latent_core.row_invariance import DOES_NOT_HOLD, MIN_ROWS, RowRule, is_slow, known_rule, product_rules

Rows = Callable[[Tensor], Tensor]
"""Takes inputs [rows, in_features] to outputs [rows, out_features]."""


VECTOR_ELEMENTS = 64
"""Elements that loops take at once: two vectors of at most 512 bits, of the narrowest precision."""


_SMALL = 2.0**-19
"""About the size of what a float32 sum of some hundred products rounds away."""


@dataclass(frozen=True)
class LayerRule:
    """How one kind of linear layer is computed.

    Attributes:
        layer: Precision and shape, such as "float32 768 -> 3072".
        product: What computes it: "itself", "packed", "rows of weights" or "columns of weights".
        rule: With how many rows.
    """

    layer: str
    product: str
    rule: RowRule


def make_rows_invariant(modules: Iterable[nn.Module], *, live: bool = False) -> list[LayerRule]:
    """Let the linear layers within modules on a CPU be computed by their rules; those that need none stay as they are.

    Names and parameters of the layers stay; their weights may be copied, and can then be neither trained nor replaced.

    Args:
        modules: The modules.
        live: Whether weights are to be trained or replaced: nothing is copied, and every product reads them anew.

    Returns:
        The rule of every kind of layer that there is.
    """
    found: dict[LayerRule, None] = {}
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear | Conv1D | PackedLinear) and layer.weight.device.type == "cpu":
                rule, product = invariant_rows(layer, live=live)
                found[rule] = None
                if isinstance(layer, PackedLinear) and layer.activates:
                    with without_activation(layer):
                        rule, plain = invariant_rows(layer)
                    found[rule] = None
                    product = _by_turns(layer, product, plain)
                if product is not None:
                    # Of the instance, so that hooks, names and types stay.
                    setattr(layer, "forward", partial(_in_rows, product))  # noqa: B010
            elif _is_activation(layer):
                function = type(layer).forward.__get__(layer)
                setattr(layer, "forward", partial(_without_rest, function))  # noqa: B010
    return list(found)


def invariant_rows(layer: nn.Linear | Conv1D | PackedLinear, *, live: bool = False) -> tuple[LayerRule, Rows | None]:
    """Return the rule of a layer, and what computes it by that rule; None where the layer does so already.

    Args:
        layer: The layer.
        live: See `make_rows_invariant`.
    """
    inputs, outputs, dtype = *_shape(layer), layer.weight.dtype
    activation = layer.activation if isinstance(layer, PackedLinear) and layer.activates else None
    key = (type(layer), dtype, inputs, outputs, layer.bias is None, activation)
    if (key, live) not in _chosen:
        _chosen[key, live] = _choose(key, layer, inputs, dtype, live)
    product, rule = _chosen[key, live]
    name = f"{str(dtype).removeprefix('torch.')} {inputs} -> {outputs}"
    described = LayerRule(name if activation is None else f"{name} with {activation.name}", product, rule)
    if product == "itself" and rule.is_free:
        return described, None
    return described, partial(rule.apply, dict(_products(layer, live))[product]())


def _by_turns(layer: PackedLinear, activated: Rows | None, plain: Rows | None) -> Rows | None:
    """Return what computes a layer with its activation or without, whichever is wanted when it is called."""
    if activated is None and plain is None:
        return None
    with_it, without = activated or layer.activated, plain or layer.linear
    return lambda inputs: (with_it if layer.activates else without)(inputs)


def _is_activation(layer: nn.Module) -> bool:
    """Whether a module works element by element."""
    kind = type(layer)
    return kind.__module__ in ("torch.nn.modules.activation", "transformers.activations") and not any(
        True for _ in layer.parameters()
    )


def _without_rest(function: Rows, inputs: Tensor) -> Tensor:
    """Apply a function of elements to a tensor [..., features].

    Functions are computed for a whole vector of elements at once, and what is left over at the end of a tensor one by
    one, by other formulas. Widths that are no multiple of such a vector leave something of the last row over.
    """
    if inputs.device.type != "cpu" or inputs.shape[-1] % VECTOR_ELEMENTS == 0:
        return function(inputs)
    missing = -inputs.numel() % VECTOR_ELEMENTS
    filled = nn.functional.pad(inputs.flatten(), (0, missing))
    return function(filled)[: inputs.numel()].reshape(inputs.shape)


_chosen: dict[tuple[Any, ...], tuple[str, RowRule]] = {}


def _choose(key: tuple[Any, ...], layer: nn.Module, width: int, dtype: torch.dtype, live: bool) -> tuple[str, RowRule]:
    """Return the product of a layer that is fastest among those that are invariant, and its rule."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        noise = RoundingNoise(width)
        stand_in = _stand_in(layer, noise)

    def example(rows: int) -> tuple[Tensor]:
        return (noise.left(rows, dtype=dtype),)

    measured: dict[str, RowRule] = {}
    for name, make in _products(stand_in, live):
        measured[name] = known_rule((name, *key), make(), example, sparse=is_slow(dtype))
        if measured[name].holds and measured[name].chunk is None:
            return name, measured[name]
    return next(((name, rule) for name, rule in measured.items() if rule.holds), ("itself", DOES_NOT_HOLD))


def _stand_in(layer: nn.Module, noise: RoundingNoise) -> nn.Module:
    """Return a layer that is computed like another one, and whose outputs for `noise` show how.

    Layers of kinds that nobody knows stand for themselves.
    """
    if type(layer) not in (nn.Linear, Conv1D, PackedLinear):
        return layer
    assert isinstance(layer, nn.Linear | Conv1D | PackedLinear)
    inputs, outputs = _shape(layer)
    weight = noise.right(outputs, dtype=layer.weight.dtype)
    # As small as what is rounded, so that it shows too where in the sum a bias is added.
    small = torch.rand(outputs).sub_(0.5).mul_(_SMALL).to(weight.dtype)
    bias = None if layer.bias is None else nn.Parameter(small, requires_grad=False)
    if isinstance(layer, PackedLinear):
        packed = PackedLinear(weight, bias)
        packed.activation, packed.activates = layer.activation, layer.activates
        return packed
    other: Any = Conv1D(outputs, 1) if type(layer) is Conv1D else nn.Linear(inputs, outputs, device="meta")
    weight = weight.T.contiguous() if type(layer) is Conv1D else weight
    other.weight, other.bias = nn.Parameter(weight, requires_grad=False), bias
    module: nn.Module = other
    return module


def _products(layer: nn.Module, live: bool) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield products that compute a layer up to rounding, the fastest first; `live` ones read its weights each time."""
    if isinstance(layer, PackedLinear):
        yield from _packed_products(layer)
        return
    # The method, not the module: hooks are not part of it.
    yield "itself", lambda: type(layer).forward.__get__(layer)
    if type(layer) not in (nn.Linear, Conv1D):
        return
    if live:
        yield from _live_products(layer)
        return
    bias: Any = layer.bias
    if can_pack(_weight(layer)):
        yield "packed", lambda: PackedLinear(_weight(layer), bias).forward
    if type(layer) is Conv1D:
        yield "rows of weights", lambda: _by_rows(layer)
    else:
        yield "columns of weights", lambda: _by_columns(layer)


def _packed_products(layer: PackedLinear) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield products of a packed layer, with its activation if the layer applies it now."""
    activation = layer.activation if layer.activates else None
    yield "itself", lambda: layer.linear if activation is None else layer.activated

    def followed(product: Rows) -> Rows:
        if activation is None:
            return product
        function = activation.function
        return lambda inputs: _without_rest(function, product(inputs))

    yield "rows of weights", lambda: followed(_by_rows(layer))
    yield "columns of weights", lambda: followed(_by_columns(layer))


def _by_rows(layer: Any) -> Rows:
    return partial(nn.functional.linear, weight=_weight(layer).contiguous(), bias=layer.bias)


def _by_columns(layer: Any) -> Rows:
    return partial(_columns, _weight(layer).T.contiguous(), layer.bias)


def _live_products(layer: Any) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """Yield products of a layer's weight as it is when they are called, laid out the other way."""

    def rows_of_weights(inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, layer.weight.T.contiguous(), layer.bias)

    def columns_of_weights(inputs: Tensor) -> Tensor:
        return _columns(layer.weight.T.contiguous(), layer.bias, inputs)

    if type(layer) is Conv1D:
        yield "rows of weights", lambda: rows_of_weights
    elif type(layer) is nn.Linear:
        yield "columns of weights", lambda: columns_of_weights


def _columns(weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    return inputs @ weight if bias is None else torch.addmm(bias, inputs, weight)


def _weight(layer: Any) -> Tensor:
    """Return the weight of a layer as [out_features, in_features]."""
    weight: Tensor = layer.unpacked_weight() if isinstance(layer, PackedLinear) else layer.weight.detach()
    return weight.T if isinstance(layer, Conv1D) else weight


def _shape(layer: nn.Linear | Conv1D | PackedLinear) -> tuple[int, int]:
    """Return the numbers of features that a layer reads and writes."""
    first, second = layer.weight.shape
    return (first, second) if isinstance(layer, Conv1D) else (second, first)


def _in_rows(product: Rows, inputs: Tensor) -> Tensor:
    """Apply a product of rows to inputs of any number of dimensions."""
    outputs: Tensor = product(inputs.reshape(-1, inputs.shape[-1])).unflatten(0, inputs.shape[:-1])
    return outputs


def summary_of(layers: Iterable[LayerRule]) -> dict[str, Any]:
    """Return what was in force, as it is written down.

    Args:
        layers: The rules of a model's layers; those of the other products that this process has met are added.

    Returns:
        `holds`, whether bits depend on nothing beside a row in one thread; `rule`, in a phrase; `min_rows`, the most
        rows that a product is filled up to; and `exceptions`, what is not computed by the usual rule.
    """
    rules = {one.layer: (one.product, one.rule) for one in layers}
    rules |= {name: ("itself", rule) for name, rule in product_rules().items()}
    special = {
        name: str(rule) if product == "itself" else f"{product}, {rule}"
        for name, (product, rule) in rules.items()
        if product != "itself" or not rule.holds or not rule.is_free
    }
    holds = all(rule.holds for _, rule in rules.values())
    return {
        "holds": holds,
        "rule": ("does not hold" if not holds else f"{RowRule()}, with exceptions" if special else str(RowRule())),
        "min_rows": max((rule.at_least for _, rule in rules.values()), default=MIN_ROWS),
        "exceptions": special,
    }
