"""A checkpoint's model without its weights: what it should hold is known before anything is loaded."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from latent_core.compute import FlopModel
from latent_core.engine.attention import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.models.backbones import find_backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.shared_prefix_check import check_shared_prefix
from latent_core.models.weights import check_feedback, tensor_shapes


def check_model(checkpoint: Checkpoint) -> PreTrainedModel:
    """Refuse a checkpoint that would fail, or compute something else than its authors did, once its weights are loaded.

    Returns:
        Its `skeleton`, which the check had to build.

    Raises:
        UserError: If a tensor is missing or has another shape than the configuration says, if the feedback head does
            not fit, or if the architecture cannot share prompts.
    """
    check_shared_prefix(checkpoint.source, checkpoint.config)
    model = skeleton(checkpoint)
    base: Any = model.base_model
    find_backbone(checkpoint.source, base)
    shapes = tensor_shapes(checkpoint.directory)
    _check_tensors(checkpoint.source, model, shapes)
    check_feedback(checkpoint.source, checkpoint.format.feedback, checkpoint.hidden_size, shapes)
    return model


def skeleton(checkpoint: Checkpoint) -> PreTrainedModel:
    """Return the causal language model with tensors that have shapes and nothing in them.

    Raises:
        UserError: If its attention cannot be replaced.
    """
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
    shapes = FEEDBACKS[checkpoint.format.feedback].wanted(checkpoint.hidden_size, tensor_shapes(checkpoint.directory))
    return FlopModel.of(model).with_feedback(shapes)


def _check_tensors(source: str, model: PreTrainedModel, shapes: Mapping[str, tuple[int, ...]]) -> None:
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    prefix = f"{model.base_model_prefix}."
    expected = model.state_dict()
    heads = tuple(prefix for name in FEEDBACKS for prefix in FEEDBACKS[name].prefixes())
    # Where files hold names that the model lacks, the library may rename them; what is missing shows when it loads.
    renamed = [name for name in shapes if not name.startswith(heads) and {name, prefix + name}.isdisjoint(expected)]
    for name, tensor in expected.items():
        found = shapes.get(name, shapes.get(name.removeprefix(prefix)))
        if found is None and name not in tied and not renamed:
            raise UserError(f"checkpoint {source}: its weights lack {name}, which config.json asks for")
        if found is not None and found != tuple(tensor.shape):
            raise UserError(
                f"checkpoint {source}: its weights have {name} with shape {list(found)}, but config.json asks for "
                f"{list(tensor.shape)}"
            )
