"""Low-rank updates as PEFT stores them, added to the weights that they belong to."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from latent_core.errors import UserError
from latent_core.models.weight_files import some

_BASE = ".base_layer"
_FACTOR = re.compile(r"^(?P<path>.+)\.lora_(?P<side>[AB])\.default\.weight$")


def merged(
    name: str, model: PreTrainedModel, tensors: Mapping[str, Tensor], alpha: float
) -> tuple[dict[str, Tensor], int]:
    """Add B A alpha / r to every weight that has such an update (Hu et al. 2021, arXiv 2106.09685).

    Sums are made in float32 at least, and keep the wider type of weight and update.

    Args:
        name: The source, for messages.
        model: The model without weights, which says how each layer stores its weight.
        tensors: Tensors by the model's names, with what PEFT puts between them.
        alpha: Numerator of the factor; r is the rank of the update.

    Returns:
        Tensors by the model's names, and the number of updates.

    Raises:
        UserError: If an update has one factor only, no weight, or another shape than its weight.
    """
    factors: dict[str, dict[str, Tensor]] = {}
    result: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        found = _FACTOR.match(key)
        if found is not None:
            factors.setdefault(found["path"], {})[found["side"]] = tensor
        else:
            # PEFT keeps the layer that it updates below one of its own.
            result[key.replace(f"{_BASE}.", ".")] = tensor
    halves = [path for path, pair in factors.items() if len(pair) == 1]
    if halves:
        raise UserError(f"checkpoint {name}: the low-rank update of {some(halves)} lacks one of its factors A and B")
    for path, pair in factors.items():
        result[f"{path}.weight"] = _sum(name, model, path, result.get(f"{path}.weight"), pair, alpha)
    return result, len(factors)


def _sum(
    name: str, model: PreTrainedModel, path: str, weight: Tensor | None, pair: Mapping[str, Tensor], alpha: float
) -> Tensor:
    first, second = pair["A"], pair["B"]
    if weight is None:
        raise UserError(f"checkpoint {name}: there is a low-rank update of {path}, but no {path}.weight")
    try:
        transposed = isinstance(model.get_submodule(path), Conv1D)
    except AttributeError:
        transposed = False
    shape = (weight.shape[1], weight.shape[0]) if transposed else tuple(weight.shape)
    if first.shape[0] != second.shape[1] or (second.shape[0], first.shape[1]) != shape:
        raise UserError(
            f"checkpoint {name}: the low-rank update of {path} has shapes {list(second.shape)} and "
            f"{list(first.shape)}, which do not fit its weight of shape {list(weight.shape)}"
        )
    kept = torch.promote_types(weight.dtype, first.dtype)
    exact = torch.promote_types(kept, torch.float32)
    update = second.to(exact) @ first.to(exact) * (alpha / first.shape[0])
    # Conv1D of GPT-2 stores [inputs, outputs].
    return (weight.to(exact) + (update.T if transposed else update)).to(kept)
