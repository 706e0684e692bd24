"""Names without what wrappers of training have put into them: DDP, FSDP, `torch.compile`, PEFT."""

import re
from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor

from latent_core.errors import UserError
from latent_core.models.weight_files import some
from latent_core.models.weight_rules import unwrapped_name

_PARALLEL = "module."
_BEFORE_ALL = (_PARALLEL, "base_model.model.")
"""What DDP and PEFT put before every name; in other places these are names of modules."""
_KEPT = re.compile(r"(?P<before>(^|.*\.))modules_to_save\.(?P<adapter>[^.]+)\.(?P<rest>.+)")
_REPLACED = re.compile(r"(?P<before>(^|.*\.))original_module\.(?P<rest>.+)")


def unwrapped(source: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the names that they have without wrappers.

    Args:
        source: What the user named, for messages.
        tensors: By name.

    Raises:
        UserError: If two tensors come to the same name, or if PEFT keeps several trained copies of a module.
    """
    before: dict[str, Tensor] | None = None
    while before is None or before.keys() != tensors.keys():
        before = tensors
        tensors = _renamed(source, tensors, unwrapped_name)
        tensors = _renamed(source, tensors, partial(_without_parallel, parts=_parallel_parts(tensors)))
        for prefix in _BEFORE_ALL:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return _trained_copies(source, tensors)


def _parallel_parts(tensors: Iterable[str]) -> set[str]:
    """Return the first parts of names behind which always stands what DDP puts before the names of what it wraps."""
    rests: dict[str, list[str]] = {}
    for name in tensors:
        first, _, rest = name.partition(".")
        rests.setdefault(first, []).append(rest)
    return {first for first, found in rests.items() if all(rest.startswith(_PARALLEL) for rest in found)}


def _without_parallel(name: str, parts: set[str]) -> str:
    first, _, rest = name.partition(".")
    return f"{first}.{rest.removeprefix(_PARALLEL)}" if first in parts else name


def _renamed(source: str, tensors: dict[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = rename(name)
        if new in result:
            raise UserError(
                f"checkpoint {source}: {name} and another tensor are both {new} without the wrappers of training in "
                "their names; nobody can tell which is meant"
            )
        result[new] = tensor
    return result


def _trained_copies(source: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put trained copies (`modules_to_save`) in the place of the modules that PEFT keeps beside them."""
    kept = {name: found for name in tensors if (found := _KEPT.fullmatch(name))}
    adapters = {found["adapter"] for found in kept.values()}
    if len(adapters) > 1:
        raise UserError(
            f"checkpoint {source}: PEFT keeps trained copies of {len(adapters)} adapters in it ({some(adapters)}: "
            f"{some(kept)}), and nobody can tell which is meant; save the model with one of them merged"
        )
    places = {found["before"] + found["rest"] for found in kept.values()}
    replaced = {
        name for name in tensors if (found := _REPLACED.fullmatch(name)) and found["before"] + found["rest"] in places
    }
    left = {name: tensor for name, tensor in tensors.items() if name not in replaced}
    return _renamed(source, left, lambda name: kept[name]["before"] + kept[name]["rest"] if name in kept else name)
