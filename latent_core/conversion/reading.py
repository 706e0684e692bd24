"""Read the weights of a source: safetensors from anywhere, pickles only from this machine and only if allowed."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latent_core.conversion.base import Source
from latent_core.errors import UserError
from latent_core.models.files import locate

_SUFFIX = ".safetensors"
_INDEX = "model.safetensors.index.json"
_MAIN_PICKLES = ("pytorch_model*.bin",)
_OTHER_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# What the trainer of transformers leaves beside weights.
_NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"})
# Wrappers for several devices and for compilation put these before every name.
_WRAPPERS = ("module.", "_orig_mod.")


def read_source(name: str, allow_pickle: bool) -> Source:
    """Read all tensors of a file, a directory or a hub id.

    Raises:
        UserError: If there are none, a file is damaged or holds something else, or a pickle is not allowed.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return Source(name, path.parent, _unwrapped(_read_file(name, path, allow_pickle)))
    if not path.is_dir() and path.parent != Path() and path.parent.is_dir():
        # Something in a directory of this machine is no hub id, though it may look like one.
        raise UserError(f"checkpoint {name}: there is no {path.name} in {path.parent}")
    directory = path if path.is_dir() else locate(name)
    tensors: dict[str, Tensor] = {}
    for file in _weight_files(name, directory, local=path.is_dir()):
        tensors.update(_read_file(name, file, allow_pickle))
    return Source(name, directory, _unwrapped(tensors))


def _weight_files(name: str, directory: Path, local: bool) -> list[Path]:
    """Return the files that together hold the weights."""
    index = directory / _INDEX
    if index.is_file():
        try:
            return [directory / file for file in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"checkpoint {name}: {_INDEX} cannot be read: {error}") from error
    if (directory / "model.safetensors").is_file():
        return [directory / "model.safetensors"]
    if found := sorted(directory.glob(f"*{_SUFFIX}")):
        return found
    if not local:
        raise UserError(
            f"checkpoint {name}: it has no {_SUFFIX} weights on the hub, and pickled ones are never downloaded; if you "
            "trust its author, fetch the file yourself and name it, with --allow-pickle"
        )
    if found := sorted(file for pattern in _MAIN_PICKLES for file in directory.glob(pattern)):
        return found
    found = sorted({file for pattern in _OTHER_PICKLES for file in directory.glob(pattern)})
    found = [file for file in found if file.name not in _NO_WEIGHTS]
    if len(found) == 1:
        return found
    what = f"several files that may be weights ({', '.join(file.name for file in found)})" if found else "no weights"
    raise UserError(f"checkpoint {name}: the directory has {what}; name the file that holds them")


def _read_file(name: str, path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    if path.suffix == _SUFFIX:
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"checkpoint {name}: the weights in {path.name} are damaged: {error}") from error
    if not allow_pickle:
        raise UserError(
            f"checkpoint {name}: {path.name} is pickled, and reading a pickle can run code; if you trust its author, "
            "add --allow-pickle"
        )
    return _tensors_only(name, path, _unpickled(name, path))


def _unpickled(name: str, path: Path) -> Any:
    try:
        # Even a pickle that is allowed gets no more than the types that tensors are made of.
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"checkpoint {name}: {path.name} cannot be read: it is no file of torch.save, or holds objects besides "
            "tensors, which could run code; save the state_dict alone"
        ) from error
    except Exception as error:  # A damaged file may end the reader anywhere.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"checkpoint {name}: {path.name} cannot be read: {reason}") from error


def _tensors_only(name: str, path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {name}: {path.name} holds no state_dict, but a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"checkpoint {name}: {path.name} holds a {type(value).__name__} under {key!r}, where a state_dict has "
                "a tensor; save the state_dict alone"
            )
    return dict(content)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefixes that wrappers have put before all names."""
    for prefix in _WRAPPERS:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return _unwrapped({key.removeprefix(prefix): tensor for key, tensor in tensors.items()})
    return tensors
