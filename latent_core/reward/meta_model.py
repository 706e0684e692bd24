"""A LatentRM without its weights: what it should hold is known before anything is loaded."""

import copy
from collections.abc import Mapping

import torch
from transformers import AutoModelForTokenClassification, PreTrainedConfig, PreTrainedModel

from latent_core.attention.shared_prefix import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.models.compatibility import check_shared_prefix
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.weight_files import Header
from latent_core.models.weight_rules import Assignment, assign, model_names
from latent_core.models.weights import check_tied_copies
from latent_core.reward.checkpoint import RewardCheckpoint


def reward_meta_device_model(source: str, config: PreTrainedConfig) -> PreTrainedModel:
    """Return the token classification model with one label, with tensors that have shapes and nothing in them.

    Raises:
        UserError: If the architecture cannot share prompts, or transformers has none for this configuration.
    """
    check_shared_prefix(source, config)
    one_label = copy.deepcopy(config)
    one_label.num_labels = 1
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForTokenClassification.from_config(
                one_label, attn_implementation=SHARED_PREFIX_ATTENTION, trust_remote_code=False
            )
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"checkpoint {source}: no LatentRM can be made of its configuration: {reason}") from error
    return model


def check_reward_weights(checkpoint: RewardCheckpoint) -> tuple[PreTrainedModel, Assignment]:
    """Find a place for every tensor of a LatentRM, and compare tied copies.

    A feedback head that it inherits from its reasoner is not used: a LatentRM reads latents and makes none.

    Returns:
        Its `reward_meta_device_model`, and where its tensors go.

    Raises:
        UserError: If a tensor is missing, has another shape or is no plain weight, or if nothing takes one.
    """
    source = checkpoint.source
    model = reward_meta_device_model(source, checkpoint.config)
    inherited = FEEDBACKS[checkpoint.format.feedback].prefixes()
    assignment = assign(source, model, checkpoint.weights.headers, of_reasoner=inherited)
    check_tied_copies(source, checkpoint.weights, assignment.tied)
    return model, assignment


def names_of_backbone(model: PreTrainedModel, headers: Mapping[str, Header]) -> list[str]:
    """Return those tensors of a reasoner that a LatentRM starts from."""
    expected = model.state_dict()
    return [name for name, (target, _) in model_names(model, headers).items() if target in expected]
