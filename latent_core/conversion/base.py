"""What a layout of weights is, and how the one of a source is found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.formats import LatentFormat
from latent_core.models.weight_files import some
from latent_core.registry import Registry


@dataclass(frozen=True)
class Options:
    """What the user says about a conversion.

    Attributes:
        base: Where configuration and tokenizer are, if not beside the weights: a directory, hub id or "bundled:NAME".
        family: Whose conventions to start from; None for those of the source's layout.
        changes: Settings of the format that replace those of the family.
        lora_alpha: Numerator of the factor with which low-rank updates are added; None for the published one, where
            there is one.
        allow_pickle: Whether pickled weights may be read.
        drop: Patterns, as of file names, of tensors that only training needs.
        embedding_std: By how much a head scales its latents, where no file says it.
    """

    base: str | None = None
    family: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    lora_alpha: float | None = None
    allow_pickle: bool = False
    drop: tuple[str, ...] = ()
    embedding_std: float | None = None


@dataclass(frozen=True)
class Source:
    """Weights that have been read.

    Attributes:
        name: What the user named.
        directory: Where they lie, possibly with a configuration and a tokenizer.
        tensors: By name.
        notes: What was done to read them.
        files: The files that hold them.
    """

    name: str
    directory: Path
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def has_config(self) -> bool:
        """Whether a configuration lies beside the weights; some trainers leave an empty one."""
        path = self.directory / "config.json"
        return path.is_file() and path.stat().st_size > 0


@dataclass(frozen=True)
class Draft:
    """A checkpoint that is ready to be written.

    Attributes:
        config: Content of `config.json`.
        tokenizer: Its tokenizer, latent tokens included.
        tensors: By the names that the model of transformers and the feedback head have for them.
        described: Content of `latent.json`; None where the architecture implies the conventions.
        notes: What the user should know about the result.
    """

    config: Mapping[str, Any]
    tokenizer: PreTrainedTokenizerBase
    tensors: Mapping[str, Tensor]
    described: LatentFormat | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A way in which weights are named.

    Attributes:
        name: Short name.
        title: What it is, for messages.
        recognises: Whether a source has it.
        draft: Makes a checkpoint of such a source.
        turn: When it is asked: those that look for more of a source come first.
        training_only: What its trainers save and nothing but training needs: beginnings of names by what they are.
    """

    name: str
    title: str
    recognises: Callable[[Source], bool]
    draft: Callable[[Source, Options], Draft]
    turn: int = 1
    training_only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


LAYOUTS: Registry[Layout] = Registry("source layout", "latent_core.conversion")
"""Layouts by name."""


def register_layout(layout: Layout) -> Layout:
    """Make a layout known."""
    return LAYOUTS.register(layout.name, layout)


def find_layout(source: Source) -> Layout:
    """Return the layout of a source.

    Raises:
        UserError: If none recognises it.
    """
    layouts = sorted((LAYOUTS[name] for name in LAYOUTS), key=lambda layout: layout.turn)
    for layout in layouts:
        if layout.recognises(source):
            return layout
    raise UserError(
        f"checkpoint {source.name}: its tensors ({some(source.tensors)}) are named as in no known layout: "
        f"{'; '.join(layout.title for layout in layouts)}"
    )


def check_family(source: Source, options: Options, family: str) -> None:
    """Refuse `--family` where the layout implies another one.

    Raises:
        UserError: If it does.
    """
    if options.family not in (None, family):
        raise UserError(
            f"checkpoint {source.name}: its tensors are laid out by the {family} trainer, so that --family "
            f"{options.family} cannot be meant; leave --family out"
        )
