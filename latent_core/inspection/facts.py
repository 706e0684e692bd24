"""What a checkpoint is, without its weights in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from latent_core.models.backbones import Backbone, find_backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.formats import LatentFormat
from latent_core.models.meta_model import check_model, weights_left_out
from latent_core.models.weight_files import stored_types
from latent_core.samplers.base import Projection, Site

# As the headers of weight files spell them.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Token:
    """A token with a role.

    Attributes:
        text: Its text.
        id: Its id.
    """

    text: str
    id: int


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known about a checkpoint.

    Attributes:
        source: What the user named.
        directory: Where its files are.
        architecture: The class name in `config.json`.
        model_type: Of transformers.
        backbone: The family that says where samplers act.
        format: The conventions around the backbone.
        feedback_width: Inner width of the feedback head; None where it has none.
        tokens: Start, end and latent token by role; roles that nothing fills are left out.
        opening: Tokens in front of every prompt that its template does not say.
        fed: Tokens that are fed behind the last latent.
        answer_ends: Tokens that end an answer.
        own_rules: Whether texts are split by `tokenizer.json` where transformers has other rules for the model.
        latent_steps: T, or the most of them where the length is adaptive.
        context_length: Positions, in tokens.
        layers: Blocks.
        width: Width of a latent.
        heads: Attention heads.
        key_value_heads: Heads of keys and values.
        vocabulary: Embeddings.
        backbone_parameters: Parameters of the language model, tied ones once.
        feedback_parameters: Parameters of the feedback head.
        sites: Where dropout can act: the module whose output each site is, in every block.
        projections: Which weights can be perturbed: the module of each, and the part of it where several are fused.
        dtypes: Types of the stored tensors, the most frequent first.
        weights: The files that hold the weights, which of their tensors are not used by which rule, and which files
            are not read.
        fingerprint: Hash of the files that make the checkpoint what it is.
    """

    source: str
    directory: Path
    architecture: str
    model_type: str
    backbone: str
    format: LatentFormat
    feedback_width: int | None
    tokens: Mapping[str, Token]
    opening: tuple[Token, ...]
    fed: tuple[Token, ...]
    answer_ends: tuple[Token, ...]
    own_rules: bool
    latent_steps: int
    context_length: int
    layers: int
    width: int
    heads: int
    key_value_heads: int
    vocabulary: int
    backbone_parameters: int
    feedback_parameters: int
    sites: Mapping[Site, str]
    projections: Mapping[Projection, str]
    dtypes: tuple[str, ...]
    weights: str
    fingerprint: str


def checkpoint_facts(checkpoint: Checkpoint) -> CheckpointFacts:
    """Check a checkpoint and say what it is; of its weights only the headers are interpreted.

    Raises:
        UserError: If it could not be run.
    """
    model = check_model(checkpoint)
    config: Any = checkpoint.config
    backbone = find_backbone(checkpoint.source, model.base_model)
    feedback = FEEDBACKS[checkpoint.format.feedback].wanted(checkpoint.hidden_size, checkpoint.weights.shapes)
    return CheckpointFacts(
        source=checkpoint.source,
        directory=checkpoint.directory,
        architecture=checkpoint.architecture,
        model_type=config.model_type,
        backbone=backbone.name,
        format=checkpoint.format,
        # The first layer of every head reads a hidden state and writes its inner width.
        feedback_width=next(iter(feedback.values()))[0] if feedback else None,
        tokens=_tokens(checkpoint),
        opening=_named(checkpoint, checkpoint.opening),
        fed=_named(checkpoint, checkpoint.fed_ids),
        answer_ends=_named(checkpoint, checkpoint.answer_ends),
        own_rules="tokenizer" in checkpoint.beyond,
        latent_steps=checkpoint.latent_steps,
        context_length=checkpoint.context_length,
        layers=config.num_hidden_layers,
        width=checkpoint.hidden_size,
        heads=config.num_attention_heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        vocabulary=config.vocab_size,
        # A tied matrix is one parameter with two names.
        backbone_parameters=sum(parameter.numel() for parameter in model.parameters()),
        feedback_parameters=sum(prod(shape) for shape in feedback.values()),
        sites=_sites(backbone, model),
        projections={
            projection: _place(backbone, model, part.path) + (f" ({part.index + 1} of {part.of})" * (part.of > 1))
            for projection, part in backbone.projections.items()
        },
        dtypes=tuple(_DTYPES.get(stored, stored.lower()) for stored in stored_types(checkpoint.weights.headers)),
        weights="; ".join(filter(None, (checkpoint.weights.describe(), weights_left_out(checkpoint, model)))),
        fingerprint=checkpoint.fingerprint,
    )


def _tokens(checkpoint: Checkpoint) -> dict[str, Token]:
    named = checkpoint.format
    vocabulary, tokenizer = checkpoint.tokenizer.get_vocab(), checkpoint.tokenizer
    end = named.end_token or str(tokenizer.convert_ids_to_tokens(checkpoint.end_id))
    roles = {"start": named.start_token, "end": end, "latent": named.latent_token}
    return {
        role: Token(text, checkpoint.end_id if role == "end" else vocabulary[text])
        for role, text in roles.items()
        if text is not None
    }


def _named(checkpoint: Checkpoint, ids: tuple[int, ...]) -> tuple[Token, ...]:
    return tuple(Token(str(checkpoint.tokenizer.convert_ids_to_tokens(one)), one) for one in ids)


def _sites(backbone: Backbone, model: PreTrainedModel) -> dict[Site, str]:
    base = model.base_model_prefix
    everywhere = {
        Site.EMBEDDING: f"input of {base}.{backbone.layers}.0",
        Site.ATTENTION_WEIGHTS: "weights of the shared-prompt attention",
    }
    return {site: _place(backbone, model, path) for site, path in backbone.sites.items()} | everywhere


def _place(backbone: Backbone, model: PreTrainedModel, path: str) -> str:
    return f"{model.base_model_prefix}.{backbone.layers}.*.{path}"
