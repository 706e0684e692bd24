"""The checkpoints of CODI's own trainer: low-rank updates that are not merged, a projector, three more embeddings."""

from collections.abc import Mapping

from torch import Tensor

from latent_core.conversion.base import Draft, Layout, Options, Source, check_family, register_layout
from latent_core.conversion.description import (
    changed_format,
    described_config,
    family_format,
    opened_prompt,
    released_name,
    steps_note,
)
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation, embedding_names, embedding_rows, padding_note
from latent_core.conversion.lora import merged
from latent_core.conversion.vocabulary import add_at, grown
from latent_core.errors import UserError
from latent_core.models.weight_rules import is_padded

_MODEL, _ADAPTED = "codi.", "base_model.model."
_PROJECTOR = {"prj.1.": "projector.1.", "prj.3.": "projector.3.", "prj.ln.": "projector.4."}
_PUBLISHED_ALPHA = 32.0
_TRAINED_TOKENS = ("[PAD]", "<|start-latent|>", "<|end-latent|>")
"""The trainer's padding, begin and end of thought, which have no names there."""
_TRAINING_ONLY = {"auxiliary decoder of SIM-CoT's training": ("decoder.", "pj_in.", "pj_out.")}
"""It may be of another width than the model: two maps lead there and back."""


def _recognises(source: Source) -> bool:
    return any(name.startswith(_MODEL) for name in source.tensors)


def _draft(source: Source, options: Options) -> Draft:
    check_family(source, options, "codi")
    foundation = Foundation.of(source, options)
    projector = {
        new + name.removeprefix(old): tensor
        for name, tensor in source.tensors.items()
        for old, new in _PROJECTOR.items()
        if name.startswith(old)
    }
    plain = {_plain(name): tensor for name, tensor in source.tensors.items() if not name.startswith(tuple(_PROJECTOR))}
    blank = foundation.blank()
    alpha = _PUBLISHED_ALPHA if options.lora_alpha is None else options.lora_alpha
    plain, updates = merged(source.name, blank, plain, alpha)
    rows = embedding_rows(source, blank, plain)
    base_rows = foundation.vocab_size
    tokens = base_rows + len(_TRAINED_TOKENS)
    padded = is_padded(rows, tokens)
    if rows != tokens and not padded:
        raise UserError(
            f"checkpoint {source.name}: its embeddings have {rows} rows, three more than those of the model it was "
            f"trained from, but {foundation.name} has {foundation.vocab_size}; is --base that model?"
        )
    fitted = fit(source.name, foundation.name, foundation.blank(rows), plain)
    start = family_format("codi", bool(projector))
    tokenizer = foundation.tokenizer
    if "prompt" not in options.changes:
        start = opened_prompt(start, tokenizer)
    latent = start.latent_token
    assert latent is not None  # The published conventions have one.
    add_at(source.name, tokenizer, [*_TRAINED_TOKENS, latent], base_rows)
    # It marks places of latents and is never fed, so that any row will do, one of the padding too.
    tensors = fitted.tensors if padded else grown(fitted.tensors, embedding_names(blank), [rows])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = _TRAINED_TOKENS[0]
    conventions = changed_format(start, options.changes)
    config, described = described_config(
        {**foundation.raw, "vocab_size": max(rows, tokens + 1), **_projector_settings(projector)},
        conventions,
        released_name("codi", blank.config.model_type),
        tokenizer,
    )
    notes = []
    if updates:
        whose = ", as in the published scripts" if options.lora_alpha is None else ""
        notes.append(f"merged {updates} low-rank updates with alpha {alpha:g}{whose}")
    notes += [steps_note(conventions, options), *fitted.notes]
    if padded:
        notes.append(padding_note(rows, tokens))
    return Draft(config, tokenizer, {**tensors, **projector}, described, tuple(notes))


def _plain(name: str) -> str:
    """Return a tensor's name as the causal language model has it; others keep theirs."""
    return name.removeprefix(_MODEL).removeprefix(_ADAPTED) if name.startswith(_MODEL) else name


def _projector_settings(projector: Mapping[str, Tensor]) -> dict[str, object]:
    first = projector.get("projector.1.weight")
    return {"projector": bool(projector)} | ({} if first is None else {"projector_hidden_size": first.shape[0]})


register_layout(
    Layout("codi_trainer", f"CODI's trainer ({_MODEL}*)", _recognises, _draft, training_only=_TRAINING_ONLY)
)
