"""Convert a checkpoint: read it, find its layout, write it anew, and check that the result can be run."""

from pathlib import Path

from latent_core.conversion.base import Options, find_layout
from latent_core.conversion.dropping import without_named, without_training_only
from latent_core.conversion.reading import read_source
from latent_core.conversion.writing import appearing, check_out, write
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.meta_model import check_model
from latent_core.models.weights import check_finite


def convert(source: str, out: Path, options: Options, *, dry_run: bool = False) -> tuple[str, ...]:
    """Write a checkpoint directory that `Checkpoint.open` accepts.

    Args:
        source: A file, a directory or a hub id.
        out: The directory; it must not exist, or be empty.
        options: What the user says about the conversion.
        dry_run: Whether to write nothing; what can be told from the source alone is checked.

    Returns:
        What the user should know about the result.

    Raises:
        UserError: If the source cannot be converted; nothing is left at `out` then.
    """
    check_out(out)
    read = without_named(read_source(source, options.allow_pickle), options.drop)
    layout = find_layout(read)
    read = without_training_only(read, layout)
    draft = layout.draft(read, options)
    if dry_run:
        check_finite(f"checkpoint {source}", draft.tensors.items())
    else:
        with appearing(out) as directory:
            write(draft, directory)
            _check(source, directory)
    values = sum(tensor.numel() for tensor in draft.tensors.values())
    size = (f"{len(draft.tensors):,} tensors of {values:,} values",) if dry_run else ()
    return (f"read as {layout.title}", *read.notes, *draft.notes, *size)


def _check(source: str, directory: Path) -> None:
    """Refuse a result that could not be run, in the source's name: the user knows no other."""
    try:
        check_model(Checkpoint.open(str(directory)))
    except UserError as error:
        reason = str(error).removeprefix(f"checkpoint {directory}: ")
        raise UserError(f"checkpoint {source}: what it converts to cannot be run: {reason}") from error
