"""The state_dict that COCONUT's own trainer saves: the causal language model below one name, embeddings twice."""

from collections.abc import Mapping

import torch
from torch import Tensor

from latent_core.conversion.base import Draft, Layout, Options, Source, check_family, register_layout
from latent_core.conversion.description import (
    changed_format,
    described_config,
    opened_prompt,
    released_name,
    steps_note,
)
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation, embedding_names, embedding_rows, padding_note
from latent_core.conversion.vocabulary import add_missing, next_id
from latent_core.errors import UserError
from latent_core.models.formats import LatentFormat
from latent_core.models.formats.coconut import COCONUT
from latent_core.models.weight_rules import is_padded

MODEL = "base_causallm."
_ALIAS = "embedding.weight"


def _recognises(source: Source) -> bool:
    return any(name.startswith(MODEL) for name in source.tensors)


def _draft(source: Source, options: Options) -> Draft:
    return draft_as(COCONUT, source, options)


def draft_as(published: LatentFormat, source: Source, options: Options) -> Draft:
    """Make a checkpoint of the trainer's state_dict.

    Args:
        published: Conventions of the family, which the user's settings change.
        source: The state_dict.
        options: What the user says.

    Raises:
        UserError: If it is not that of the base model with three tokens more, or not whole.
    """
    check_family(source, options, "coconut")
    foundation = Foundation.of(source, options)
    tensors = {name.removeprefix(MODEL): tensor for name, tensor in source.tensors.items()}
    alias = tensors.pop(_ALIAS, None) if _ALIAS in source.tensors else None
    blank = foundation.blank()
    rows = embedding_rows(source, blank, tensors)
    tokenizer = foundation.tokenizer
    # In the trainer's order, which gives them their ids.
    add_missing(tokenizer, published.special_tokens)
    tokens = next_id(tokenizer)
    padded = is_padded(rows, tokens)
    if tokens != rows and not padded:
        raise UserError(
            f"checkpoint {source.name}: its embeddings have {rows} rows, but the tokenizer of {foundation.name} has "
            f"{tokens} tokens with the three latent ones; is --base the model it was trained from?"
        )
    fitted = fit(source.name, foundation.name, foundation.blank(rows), tensors)
    _check_alias(source, fitted.tensors, embedding_names(blank)[0], alias)
    start = published if "prompt" in options.changes else opened_prompt(published, tokenizer)
    conventions = changed_format(start, options.changes)
    config, described = described_config(
        {**foundation.raw, "vocab_size": rows},
        conventions,
        released_name("coconut", blank.config.model_type),
        tokenizer,
    )
    notes = [steps_note(conventions, options), *fitted.notes]
    if alias is not None:
        notes.append(f"not used: {_ALIAS}, the same as {MODEL}{embedding_names(blank)[0]}")
    if padded:
        notes.append(padding_note(rows, tokens))
    return Draft(config, tokenizer, fitted.tensors, described, tuple(notes))


def _check_alias(source: Source, tensors: Mapping[str, Tensor], name: str, alias: Tensor | None) -> None:
    if alias is not None and not torch.equal(alias, tensors[name]):
        raise UserError(
            f"checkpoint {source.name}: {_ALIAS} and {MODEL}{name} differ, but the trainer saves the embeddings under "
            "both names; the file has been changed"
        )


register_layout(Layout("coconut_trainer", f"COCONUT's trainer ({MODEL}*)", _recognises, _draft))
