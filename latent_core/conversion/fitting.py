"""Put tensors under the names that a model has for them, and leave nothing over."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from latent_core.errors import UserError
from latent_core.models.backbones import find_backbone
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.gates import StopGateSettings, kept_by_gate
from latent_core.models.weight_files import Header
from latent_core.models.weight_rules import Assignment, assign

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
"""As headers of safetensors spell them; names of torch serve for the others, which are no weights."""


@dataclass(frozen=True)
class Fitted:
    """Tensors that a model takes.

    Attributes:
        tensors: By the model's names, tied ones once.
        notes: What was left out, and why.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def fit(
    name: str,
    owner: str,
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    feeds_back: str = "identity",
    gate: StopGateSettings | None = None,
) -> Fitted:
    """Return the tensors by the model's names.

    Args:
        name: The source, for messages.
        owner: Whose configuration the model was made from.
        model: The model without weights.
        tensors: What there is; names may lack the prefix of the base model.
        feeds_back: Kind of the feedback head, whose tensors are kept as they are.
        gate: The stop gate, whose tensors are kept likewise; None where there is none.

    Raises:
        UserError: If a tensor is missing, has another shape, or is left over; or if the model has no list of blocks.
    """
    find_backbone(name, model.base_model)
    prefixes = FEEDBACKS[feeds_back].prefixes()
    own = kept_by_gate(gate, tensors)
    assignment = assign(
        name,
        model,
        {key: _header(tensor) for key, tensor in tensors.items()},
        feedback=[key for key in tensors if key in own or (prefixes and key.startswith(prefixes))],
        feeds_back=feeds_back,
        owner=f"config.json of {owner}",
    )
    fitted = {key: tensors[key] for key in assignment.feedback}
    ties: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    for key, target in assignment.used.items():
        # What transformers changes on loading stays as it is in the file, for it to change.
        fitted[key if key in assignment.changed else ties.get(target, target)] = tensors[key]
    _check_tied(name, assignment, tensors)
    unused = assignment.describe_unused()
    return Fitted(fitted, (unused,) if unused else ())


def _header(tensor: Tensor) -> Header:
    return Header(tuple(tensor.shape), _TYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")), Path())


def _check_tied(name: str, assignment: Assignment, tensors: Mapping[str, Tensor]) -> None:
    for alias, origin in assignment.tied.items():
        if not torch.equal(tensors[alias], tensors[origin]):
            raise UserError(
                f"checkpoint {name}: {alias} and {origin} differ, but config.json says that they are the same "
                "(tie_word_embeddings)"
            )
