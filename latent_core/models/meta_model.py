"""A checkpoint's model without its weights: what it should hold is known before anything is loaded."""

from contextlib import suppress
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from latent_core.attention.shared_prefix import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.flops import FlopModel
from latent_core.models.backbones import find_backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.compatibility import check_shared_prefix
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.gates import gate_tensors
from latent_core.models.weight_rules import Assignment, assign
from latent_core.models.weights import check_feedback, check_gate, check_tied_copies, feedback_scale


def check_model(checkpoint: Checkpoint) -> PreTrainedModel:
    """Refuse a checkpoint that would fail, or compute something else than its authors did, once its weights are loaded.

    Returns:
        Its `meta_device_model`, which the check had to build.

    Raises:
        UserError: If a tensor is missing or has another shape than the configuration says, if the feedback head does
            not fit, or if the architecture cannot share prompts.
    """
    model = meta_device_model(checkpoint)
    base: Any = model.base_model
    find_backbone(checkpoint.source, base)
    check_weights(checkpoint, model)
    return model


def check_weights(checkpoint: Checkpoint, model: PreTrainedModel) -> Assignment:
    """Find a place for every tensor of a checkpoint, and compare tied copies.

    Args:
        checkpoint: The checkpoint.
        model: Its `meta_device_model`.

    Raises:
        UserError: If a tensor is missing, has another shape or is no plain weight, if nothing takes one, if a tied
            copy differs, or if the feedback head lacks a tensor or its scale.
    """
    source, kind, weights = checkpoint.source, checkpoint.format.feedback, checkpoint.weights
    named = getattr(checkpoint.config, "transformers_weights", None)
    if named is not None and named not in {path.name for path in weights.files}:
        raise UserError(
            f"checkpoint {source}: transformers_weights in config.json names {named}, but the weights that are read "
            f"are {weights.describe()}; remove one of the two"
        )
    assignment = _assignment(checkpoint, model)
    check_feedback(source, kind, checkpoint.hidden_size, weights.shapes)
    check_gate(source, checkpoint.format.gate, checkpoint.hidden_size, weights.shapes)
    feedback_scale(source, kind, checkpoint.config)
    check_tied_copies(source, weights, assignment.tied)
    return assignment


def weights_left_out(checkpoint: Checkpoint, model: PreTrainedModel) -> str:
    """Return in a few words which tensors are not used by which rule, and which files are not read; empty if none."""
    return _assignment(checkpoint, model).describe_unused(checkpoint.weights.ignored)


def _assignment(checkpoint: Checkpoint, model: PreTrainedModel) -> Assignment:
    shapes, kind = checkpoint.weights.shapes, checkpoint.format.feedback
    head = FEEDBACKS[kind]
    own = {name for name in shapes if head.prefixes() and name.startswith(head.prefixes())}
    # What is missing is said once it is known that the file is of this model at all.
    with suppress(KeyError):
        own &= {*head.wanted(checkpoint.hidden_size, shapes)}
        own |= {*gate_tensors(checkpoint.format.gate, checkpoint.hidden_size, shapes)}
    return assign(checkpoint.source, model, checkpoint.weights.headers, feedback=own, feeds_back=kind)


def meta_device_model(checkpoint: Checkpoint) -> PreTrainedModel:
    """Return the causal language model with tensors that have shapes and nothing in them.

    Raises:
        UserError: If the architecture cannot share prompts, or no model can be made of the configuration.
    """
    check_shared_prefix(checkpoint.source, checkpoint.config)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                checkpoint.config, attn_implementation=SHARED_PREFIX_ATTENTION, trust_remote_code=False
            )
    except AssertionError as error:
        # The library checks some numbers of a configuration this way, such as a padding id beyond the vocabulary.
        raise UserError(f"checkpoint {checkpoint.source}: config.json contradicts itself: {error}") from error
    except (KeyError, ValueError) as error:
        raise UserError(
            f"checkpoint {checkpoint.source}: the attention of model_type {checkpoint.config.model_type!r} cannot be "
            f"replaced, so that samples could not share a prompt ({' '.join(str(error).split())[:200]})"
        ) from error
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"checkpoint {checkpoint.source}: no model can be made of config.json ({reason})") from error
    return model


def cost_model(checkpoint: Checkpoint, model: PreTrainedModel) -> FlopModel:
    """Return what forward passes and feedback cost; no weights are needed to know it."""
    head = FEEDBACKS[checkpoint.format.feedback]
    shapes = head.wanted(checkpoint.hidden_size, checkpoint.weights.shapes)
    return FlopModel.of(model, feeds_back_logits=head.reads_logits).with_feedback(shapes)
