"""The checkpoints of CoLaR's own trainer: low-rank updates and a stochastic head; the other weights are the base's."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from latent_core.conversion.base import Draft, Layout, Options, Source, check_family, register_layout
from latent_core.conversion.description import changed_format, described_config
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation
from latent_core.conversion.lora import merged
from latent_core.errors import UserError
from latent_core.models.formats import FAMILIES
from latent_core.models.weight_files import WeightSource

_MODEL, _ADAPTED, _HEAD = "llm.", "base_model.model.", "latent_policy."
_SCALE = "latent_embedding_std"


def _recognises(source: Source) -> bool:
    return any(name.startswith(_HEAD) for name in source.tensors) and any(
        name.startswith(_MODEL) for name in source.tensors
    )


def _draft(source: Source, options: Options) -> Draft:
    check_family(source, options, "colar")
    foundation = Foundation.of(source, options)
    scale = foundation.raw.get(_SCALE) if options.embedding_std is None else options.embedding_std
    if scale is None:
        raise UserError(
            f"checkpoint {source.name}: no file says by how much the trainer scaled latents; say with --embedding-std "
            f"the spread of the embeddings of {foundation.name} in its settings, such as 0.018"
        )
    alpha = options.lora_alpha
    if alpha is None:
        raise UserError(
            f"checkpoint {source.name}: no file says the LoRA alpha of the trainer, which the weights depend on; "
            "say it with --lora-alpha"
        )
    trained = {_plain(name): tensor for name, tensor in source.tensors.items()}
    model = foundation.blank()
    weights = {**_base_tensors(foundation.name, foundation.directory), **trained}
    tensors, updates = merged(source.name, model, weights, alpha)
    start = FAMILIES["colar_policy"](foundation.raw)
    fitted = fit(source.name, foundation.name, model, tensors, start.feedback)
    raw = {**foundation.raw, "architectures": [type(model).__name__], _SCALE: scale}
    config, described = described_config(raw, changed_format(start, options.changes), None, foundation.tokenizer)
    notes = (f"merged {updates} low-rank updates with alpha {alpha:g}", f"scales latents by {scale:g}")
    return Draft(config, foundation.tokenizer, fitted.tensors, described, (*notes, *fitted.notes))


def _plain(name: str) -> str:
    """Return a tensor's name as the causal language model has it; those of the head keep theirs."""
    return name.removeprefix(_MODEL).removeprefix(_ADAPTED) if name.startswith(_MODEL) else name


def _base_tensors(name: str, directory: Path) -> Mapping[str, Tensor]:
    """Read the weights that were not trained.

    Raises:
        UserError: If there are none as safetensors.
    """
    weights = WeightSource.find(name, directory)
    with weights.tensors(weights.headers) as slices:
        return {key: one[...] for key, one in slices.items()}


register_layout(Layout("colar_trainer", f"CoLaR's trainer ({_HEAD}*, {_MODEL}*)", _recognises, _draft))
