"""Write a checkpoint directory whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from latent_core.conversion.base import Draft
from latent_core.errors import UserError
from latent_core.models.files import LATENT_FILE
from latent_core.models.weights import check_finite


def check_out(out: Path) -> None:
    """Refuse a place where something is.

    Raises:
        UserError: If it is a file, or a directory that is not empty.
    """
    if out.is_dir():
        if any(out.iterdir()):
            raise UserError(f"--out {out}: the directory is not empty; name another one")
    elif out.exists():
        raise UserError(f"--out {out}: there is a file of that name; name a directory")


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """Give a directory beside `out` that takes its name at the end, and is removed if anything goes wrong.

    Raises:
        UserError: If it cannot be made.
    """
    final = out.absolute()
    partial = final.parent / f".{final.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(final)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write(draft: Draft, directory: Path) -> None:
    """Write configuration, conventions, tokenizer and weights.

    Raises:
        UserError: If a weight is infinite or no number.
    """
    dtype = _widest(draft.tensors.values())
    check_finite("what is converted", draft.tensors.items())
    config = {key: value for key, value in draft.config.items() if key != "torch_dtype"}
    config["dtype"] = str(dtype).removeprefix("torch.")
    draft.tokenizer.save_pretrained(directory)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if draft.described is not None:
        # A setting of later versions is left out where it says nothing, so that the same source gives the same file.
        described = draft.described.model_dump_json(indent=2, exclude=set(draft.described.silent))
        (directory / LATENT_FILE).write_text(described + "\n", encoding="utf-8")
    save_file(_separate(draft.tensors, dtype), directory / "model.safetensors", metadata={"format": "pt"})


def _widest(tensors: Iterable[Tensor]) -> torch.dtype:
    """Return the type that holds all floating-point tensors without loss."""
    found: torch.dtype | None = None
    for tensor in tensors:
        if tensor.is_floating_point():
            found = tensor.dtype if found is None else torch.promote_types(found, tensor.dtype)
    return found or torch.float32


def _separate(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return tensors of one type of which none shares memory with another, as the file format demands."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        one = (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().contiguous()
        if one.untyped_storage().nbytes() != one.nbytes or one.data_ptr() in seen:
            one = one.clone()
        seen.add(one.data_ptr())
        result[name] = one
    return result
