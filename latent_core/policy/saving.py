"""A policy as a checkpoint, in the layout of the one that its training began with."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from latent_core.conversion.base import Draft
from latent_core.conversion.writing import appearing, write
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.files import GENERATION_FILE, LATENT_FILE, read_json
from latent_core.models.meta_model import check_weights, meta_device_model
from latent_core.models.reasoner import LatentReasoner

_AS_THEY_ARE = (GENERATION_FILE, LATENT_FILE)


def save_policy(reasoner: LatentReasoner, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Write configuration, conventions, tokenizer and weights; the directory appears whole or not at all.

    Args:
        reasoner: The policy.
        weights: Its tensors that training has changed, by their names in the model.
        directory: Where to; it must not exist, or be empty.

    Raises:
        UserError: If it cannot be written, or a weight is infinite or no number.
    """
    checkpoint = reasoner.checkpoint
    draft = Draft(
        config=read_json(checkpoint.source, checkpoint.directory / "config.json"),
        tokenizer=checkpoint.tokenizer,
        tensors=_tensors(checkpoint, weights),
        described=None,
    )
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    with appearing(directory) as partial:
        write(draft, partial)
        for name in _AS_THEY_ARE:
            if (checkpoint.directory / name).is_file():
                shutil.copyfile(checkpoint.directory / name, partial / name)


def check_saveable(checkpoint: Checkpoint, names: Iterable[str]) -> None:
    """Refuse a checkpoint whose trained tensors have no place of their own in its files.

    Args:
        checkpoint: Where training starts.
        names: Names in the model of the tensors that training changes.

    Raises:
        UserError: If transformers makes one of several tensors, or changes it, when it reads the files.
    """
    if lacking := sorted(set(names) - set(_files(checkpoint))):
        raise UserError(
            f"checkpoint {checkpoint.source}: {lacking[0]} is made of other tensors when its weights are read, so a "
            "trained one could not be written back; save it with transformers first, and name that"
        )


def _tensors(checkpoint: Checkpoint, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors by the names of the checkpoint's files, those that were trained in their new state."""
    files = _files(checkpoint)
    with checkpoint.weights.tensors(checkpoint.weights.headers) as slices:
        tensors = {name: one[...] for name, one in slices.items()}
    return {**tensors, **{files[name]: tensor.cpu() for name, tensor in weights.items()}}


def _files(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the name in the files of every tensor of the model that stands there as it is."""
    assignment = check_weights(checkpoint, meta_device_model(checkpoint))
    return {model: file for file, model in assignment.used.items() if file not in assignment.changed}
