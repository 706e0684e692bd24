"""Read the weights of a source: safetensors from anywhere, pickles only from this machine and only if allowed."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latent_core.conversion.base import Source
from latent_core.conversion.wrappers import unwrapped
from latent_core.errors import UserError
from latent_core.models.files import locate
from latent_core.models.weight_files import (
    PICKLE_PATTERNS,
    TRAINER_FILES,
    WeightSource,
    find_weight_files,
    foreign_format,
    other_files,
    read_headers,
    some,
)

_SUFFIX = ".safetensors"
_MAIN_PICKLES = ("pytorch_model*.bin",)
_TRAINER_STATE = re.compile(r"checkpoint_\d+")
"""What COCONUT's trainer calls a state_dict, by its epoch."""
_LIGHTNING = "pytorch-lightning_version"
"""Stands in checkpoints of Lightning beside the state_dict and numbers of the training."""
_SHARD = re.compile(r"(?P<stem>.+)-\d+-of-0*(?P<of>\d+)\.safetensors")


def read_source(name: str, allow_pickle: bool) -> Source:
    """Read all tensors of a file, a directory or a hub id.

    Raises:
        UserError: If there are none, a file is damaged or holds something else, or a pickle is not allowed.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return _source(name, path.parent, _read_file(name, path, allow_pickle), [path])
    if not path.is_dir() and path.parent != Path() and path.parent.is_dir():
        # Something in a directory of this machine is no hub id, though it may look like one.
        raise UserError(f"checkpoint {name}: there is no {path.name} in {path.parent}")
    directory = path if path.is_dir() else locate(name)
    tensors: dict[str, Tensor] = {}
    files = _weight_files(name, directory, local=path.is_dir())
    for file in files:
        tensors.update(_read_file(name, file, allow_pickle))
    others = other_files(directory, files)
    return _source(name, directory, tensors, files, (f"not read: {some(others)}",) if others else ())


def _source(
    name: str, directory: Path, tensors: dict[str, Tensor], files: list[Path], notes: tuple[str, ...] = ()
) -> Source:
    plain = unwrapped(name, tensors)
    if plain.keys() != tensors.keys():
        notes = (*notes, f"took wrappers of training off the names of {len(plain.keys() - tensors.keys())} tensors")
    return Source(name, directory, plain, notes, tuple(files))


def _weight_files(name: str, directory: Path, local: bool) -> list[Path]:
    """Return the files that together hold the weights."""
    if find_weight_files(name, directory):
        return [path for path in WeightSource.find(name, directory).files if path.suffix == _SUFFIX]
    found = sorted(directory.glob(f"*{_SUFFIX}"))
    if len(found) == 1 or _all_shards(found):
        read_headers(name, found)
        return found
    if not found and not local:
        raise UserError(
            f"checkpoint {name}: it has no {_SUFFIX} weights on the hub, and pickled ones are never downloaded; if you "
            "trust its author, fetch the file yourself and name it, with --allow-pickle"
        )
    if not found and (pickled := sorted(file for pattern in _MAIN_PICKLES for file in directory.glob(pattern))):
        return pickled
    found = found or sorted(file for pattern in PICKLE_PATTERNS for file in directory.glob(pattern))
    found = [file for file in found if file.name not in TRAINER_FILES]
    found = found or sorted(file for file in directory.iterdir() if _TRAINER_STATE.fullmatch(file.name))
    if len(found) == 1:
        return found
    if not found and (reason := next(filter(None, map(foreign_format, sorted(directory.iterdir()))), None)):
        raise UserError(f"checkpoint {name}: {reason}")
    what = f"several files that may be weights ({', '.join(file.name for file in found)})" if found else "no weights"
    raise UserError(f"checkpoint {name}: the directory has {what}; name the file that holds them")


def _all_shards(files: list[Path]) -> bool:
    """Whether files are all of the numbered parts of one whole."""
    parts = [_SHARD.fullmatch(file.name) for file in files]
    wholes = {(part["stem"], part["of"]) for part in parts if part}
    return None not in parts and len(wholes) == 1 and len(files) == int(next(iter(wholes))[1])


def _read_file(name: str, path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    if path.suffix == _SUFFIX:
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"checkpoint {name}: the weights in {path.name} are damaged: {error}") from error
    if (reason := foreign_format(path)) is not None:
        raise UserError(f"checkpoint {name}: {reason}")
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
    if _LIGHTNING in content and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"checkpoint {name}: {path.name} holds a {type(value).__name__} under {key!r}, where a state_dict has "
                "a tensor; save the state_dict alone"
            )
    return dict(content)
