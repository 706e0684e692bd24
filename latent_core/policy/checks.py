"""What a policy cannot be trained with, said before anything is computed."""

from collections.abc import Sequence

from torch import nn

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.packed_linear import PackedLinear
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.objectives import OBJECTIVES
from latent_core.policy.settings import PolicySettings
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem

REPLAYED = ("gaussian", "mc_dropout", "singular_value")
"""Samplers whose draws do not depend on the weights, so that a trajectory is a differentiable function of them."""


def check_sampler(sampler: Sampler) -> None:
    """Refuse a sampler without randomness, or one through whose draws there is no gradient.

    Raises:
        UserError: With one that will do.
    """
    if sampler.kind not in REPLAYED:
        raise UserError(
            f"sampler {sampler.describe()!r}: a policy is trained on latents that differ by draws that can be "
            f"replayed with gradients; use one of {', '.join(REPLAYED)}"
        )
    if _makes_no_difference(sampler):
        raise UserError(
            f"sampler {sampler.describe()!r}: it disturbs nothing, so all trajectories of a question are the same; "
            "give it a strength above 0"
        )


def _makes_no_difference(sampler: Sampler) -> bool:
    return sampler.model_copy(update={"answer_temperature": 0.0}).deterministic


def check_policy(checkpoint: Checkpoint, sampler: Sampler, settings: PolicySettings, *, staleness: int = 0) -> None:
    """Refuse settings that do not fit a checkpoint; nothing is loaded for it.

    Args:
        checkpoint: Where training starts.
        sampler: What makes trajectories differ.
        settings: The recipe.
        staleness: By how many versions the weights of rollouts may be behind the learner's.

    Raises:
        UserError: In one line, with the cure.
    """
    check_sampler(sampler)
    objective = OBJECTIVES[settings.objective]
    if objective.needs_fixed_length and checkpoint.format.adaptive:
        raise UserError(
            f"objective {settings.objective!r}: {checkpoint.source} thinks for as long as it likes, and latents have a "
            "likelihood only where their number is fixed; use objective 'answer'"
        )
    if objective.needs_current_weights and staleness > 0:
        raise UserError(
            f"objective {settings.objective!r}: latents do not travel, and weights that are {staleness} versions newer "
            "would replay others; use staleness 0, or objective 'answer'"
        )


def check_reasoner(reasoner: LatentReasoner) -> None:
    """Refuse a reasoner whose weights can be neither trained nor replaced.

    Raises:
        UserError: If its layers are packed, or it was not loaded to be trained.
    """
    modules: list[nn.Module] = [reasoner.model, reasoner.feedback]
    packed = any(isinstance(layer, PackedLinear) for module in modules for layer in module.modules())
    if packed or not reasoner.trainable:
        raise UserError(
            f"checkpoint {reasoner.checkpoint.source}: its layers are {'packed' if packed else 'laid out'} for speed, "
            "with weights that can be neither trained nor replaced; load it with trainable=True"
        )


def check_questions(problems: Sequence[Problem], task: str) -> None:
    """Refuse a task without training questions.

    Raises:
        UserError: If there is none.
    """
    if not problems:
        raise UserError(
            f"task {task}: it has no training questions, and a policy is never trained on the test questions"
        )


def latent_steps_of(checkpoint: Checkpoint, settings: PolicySettings) -> int:
    """Return the latent steps of a trajectory, the most of them where the length is adaptive."""
    return settings.latent_steps or checkpoint.latent_steps


def answer_tokens_of(checkpoint: Checkpoint, settings: PolicySettings) -> int:
    """Return the longest answer in tokens."""
    return settings.answer_tokens or checkpoint.format.answer_tokens
