"""Tensors that are left out of a conversion: those that only training needs, by rule, and those that the user names."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from latent_core.conversion.base import Layout, Source
from latent_core.errors import UserError
from latent_core.models.weight_files import some


def without_named(source: Source, patterns: Sequence[str]) -> Source:
    """Return a source without the tensors that the user has named.

    Args:
        source: What has been read.
        patterns: As of file names, such as `decoder.*`; letters count as they are.

    Raises:
        UserError: If no tensor is named like that, or nothing is left.
    """
    for pattern in patterns:
        named = [name for name in source.tensors if fnmatchcase(name, pattern)]
        if not named:
            raise UserError(
                f"checkpoint {source.name}: --drop {pattern}: none of its tensors is called like that; it has "
                f"{some(source.tensors)}"
            )
        source = _without(source, f"dropped as {pattern}", named)
    if patterns and not source.tensors:
        raise UserError(f"checkpoint {source.name}: --drop {patterns[-1]}: no tensor is left")
    return source


def without_training_only(source: Source, layout: Layout) -> Source:
    """Return a source without the tensors of which its layout says that only training needs them."""
    for what, prefixes in layout.training_only.items():
        named = [name for name in source.tensors if name.startswith(prefixes)]
        source = _without(source, f"not used: {what}", named)
    return source


def _without(source: Source, why: str, named: Sequence[str]) -> Source:
    if not named:
        return source
    kept = {name: tensor for name, tensor in source.tensors.items() if name not in named}
    return replace(source, tensors=kept, notes=(*source.notes, f"{why}: {len(named)} tensors ({some(named)})"))
