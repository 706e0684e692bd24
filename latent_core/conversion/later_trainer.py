"""LaTER's checkpoints: Qwen3 with a projector of two layers, and conventions that its own evaluation has."""

import re
from collections.abc import Mapping

from torch import Tensor

from latent_core.conversion.base import Draft, Layout, Options, Source, register_layout
from latent_core.conversion.description import changed_format, described_config, steps_note
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation
from latent_core.errors import UserError
from latent_core.models.formats import LatentFormat

_PREFIX = "latent_projector."
_LAYER = re.compile(r"latent_projector\.net\.(?P<place>\d+)\.(?P<rest>weight|bias)")
_PLACES = {"0": "projector.1", "2": "projector.3", "3": "projector.3"}
"""The second layer stands behind a dropout in newer files only."""
_MODEL_TYPE = "qwen3"
LATER = LatentFormat(
    name="later",
    prompt="<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<latent_think>",
    feedback="projector",
    start_token="<latent_think>",
    end_token="</latent_think>",
    latent_token=None,
    latent_length="adaptive",
    latent_steps=256,
    last_latent="fed",
    fed_text="<think>",
    at_limit="close",
    positions="published",
    answer_tokens=1024,
    extractor="boxed",
)
"""As evaluated: the step whose most likely token is the end still feeds its latent, and the end itself is never fed."""


def _recognises(source: Source) -> bool:
    return any(name.startswith(_PREFIX) for name in source.tensors)


def _draft(source: Source, options: Options) -> Draft:
    if options.family is not None:
        raise UserError(
            f"checkpoint {source.name}: its tensors are laid out by LaTER's trainer, so that --family {options.family} "
            "cannot be meant; leave --family out"
        )
    foundation = Foundation.of(source, options, model_type=_MODEL_TYPE)
    model, conventions = foundation.blank(), changed_format(LATER, options.changes)
    fitted = fit(source.name, foundation.name, model, _named(source.tensors), conventions.feedback)
    raw = {**foundation.raw, "architectures": [type(model).__name__]}
    config, described = described_config(raw, conventions, None, foundation.tokenizer)
    notes = (steps_note(conventions, options), *fitted.notes)
    return Draft(config, foundation.tokenizer, fitted.tensors, described, notes)


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with those of the projector under its own names; other layers of it keep theirs."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = _LAYER.fullmatch(name)
        place = _PLACES.get(found["place"]) if found else None
        named[f"{place}.{found['rest']}" if found and place else name] = tensor
    return named


register_layout(Layout("later_trainer", f"LaTER's trainer ({_PREFIX}*)", _recognises, _draft))
