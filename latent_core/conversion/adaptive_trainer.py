"""Checkpoints of adaptive latent reasoning: a wrapped language model, a recurrent filter, and a head that stops."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_core.conversion.base import Draft, Layout, Options, Source, register_layout
from latent_core.conversion.description import changed_format, described_config, steps_note
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation
from latent_core.errors import UserError
from latent_core.models.formats import LatentFormat
from latent_core.models.gates import StopGateSettings

_MODEL, _FILTER = "_base_model.", "recurrent_filter."
_SETTINGS = "_inserted_LatentThinkingModelSettings"
_LINEAR = {"linear_layer.": "linear_filter.linear.", "norm.": "linear_filter.norm.", "bias": "linear_filter.shift"}
_FILTERS: Mapping[str | None, tuple[str, Mapping[str, str]]] = {
    None: ("identity", {}),
    "MLP": ("projector", {"input_layer.": "projector.1.", "output_layer.": "projector.3.", "norm.": "projector.4."}),
    "linear": ("linear_filter", _LINEAR),
    "linear_ECF": ("linear_filter", _LINEAR),
    "linear_ln": ("linear_filter", _LINEAR),
}
"""Feedback head and names of its tensors, by mode of the filter."""
_MOST_STEPS = 64
"""No file says how long a thought may be: models learn it."""


def _recognises(source: Source) -> bool:
    return any(name.startswith(_MODEL) for name in source.tensors)


def _draft(source: Source, options: Options) -> Draft:
    if options.family is not None:
        raise UserError(
            f"checkpoint {source.name}: its tensors are those of adaptive latent reasoning, so that --family "
            f"{options.family} cannot be meant; leave --family out"
        )
    foundation = Foundation.of(source, options)
    said = foundation.raw.get(_SETTINGS)
    if not isinstance(said, Mapping):
        raise UserError(f"checkpoint {source.name}: config.json has no {_SETTINGS}, which says how it thinks")
    _check_loadable(source, said)
    mode = said.get("recurrent_filter_mode")
    if mode not in _FILTERS:
        raise UserError(
            f"checkpoint {source.name}: its recurrent filter {mode!r} is none that is run here (known: none, "
            f"{', '.join(sorted(filter(None, _FILTERS)))}); a softmax over the vocabulary (SRE) is nearest to "
            '"feedback": "vocabulary_mixture" in the latent.json of its language model alone'
        )
    feedback, names = _FILTERS[mode]
    conventions = changed_format(_format(source, said, foundation.tokenizer, feedback), options.changes)
    model = foundation.blank()
    fitted = fit(source.name, foundation.name, model, _named(source.tensors, names), conventions.feedback)
    raw = {name: value for name, value in foundation.raw.items() if name != _SETTINGS}
    raw["architectures"] = [type(model).__name__]
    config, described = described_config(raw, conventions, None, foundation.tokenizer)
    notes = (steps_note(conventions, options, "which no file limits"), *fitted.notes)
    return Draft(config, foundation.tokenizer, fitted.tensors, described, notes)


def _check_loadable(source: Source, said: Mapping[str, Any]) -> None:
    if said.get("lora_mode"):
        raise UserError(
            f"checkpoint {source.name}: it was saved in lora_mode, with the rows of its special tokens kept apart from "
            "the embeddings; load it with its own class, leave that mode, and save it again"
        )


def _format(source: Source, said: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, feedback: str) -> LatentFormat:
    """Return the conventions with which it was trained; the released evaluator leaves `Question: ` out."""
    start, end, go_on, stop = (
        _token(source, tokenizer, said, f"{role}_token_id") for role in ("start", "end", "continue", "stop")
    )
    return LatentFormat(
        name="adaptive",
        # The text opens with the tokenizer's own token, whether or not it adds one by itself.
        prompt=f"{tokenizer.bos_token or ''}Question: {{question}}{start}",
        feedback=feedback,
        start_token=start,
        end_token=end,
        latent_token=None,
        latent_length="gated",
        gate=StopGateSettings(go_on_token=go_on, stop_token=stop),
        latent_steps=_MOST_STEPS,
        last_latent="with_end" if said.get("add_latent_to_end") else "dropped",
        at_limit="close",
        never_written=(go_on, stop, end),
        extractor="after_the_answer_is",
    )


def _token(source: Source, tokenizer: PreTrainedTokenizerBase, said: Mapping[str, Any], key: str) -> str:
    token_id = said.get(key)
    token = tokenizer.convert_ids_to_tokens(token_id) if isinstance(token_id, int) and token_id >= 0 else None
    if not isinstance(token, str):
        raise UserError(f"checkpoint {source.name}: {key} {token_id!r} of {_SETTINGS} is no id of its tokenizer")
    return token


def _named(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors by the names of the language model and the feedback head; others keep theirs."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        rest = name.removeprefix(_FILTER)
        old = next((one for one in names if rest != name and rest.startswith(one)), None)
        named[name.removeprefix(_MODEL) if old is None else names[old] + rest.removeprefix(old)] = tensor
    return named


register_layout(Layout("adaptive_trainer", f"adaptive latent reasoning ({_MODEL}*, {_FILTER}*)", _recognises, _draft))
