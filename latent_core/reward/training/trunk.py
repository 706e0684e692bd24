"""The backbone of a LatentRM as a reasoner of its own.

Training a LatentRM from a reasoner's weights teaches the backbone which answers are right. A selection that is no
better than what the same weights would answer by themselves is no gain of selection, so that accuracy is reported too.
"""

from collections.abc import Sequence

import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.model import LatentRewardModel
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

_QUESTIONS_AT_ONCE = 64


def trunk_reasoner(model: LatentRewardModel, source: str) -> LatentReasoner:
    """Return a reasoner with the backbone of a LatentRM; the LatentRM is left as it is.

    Args:
        model: The LatentRM.
        source: The reasoner whose conventions, feedback head and output head are used. An output head that is tied to
            the embeddings is the LatentRM's own thereby.

    Raises:
        UserError: If the reasoner cannot be loaded.
        RuntimeError: If its backbone has another shape.
    """
    reasoner = LatentReasoner.from_pretrained(source, model.device, packed=False)
    backbone: torch.nn.Module = reasoner.model.base_model
    trained: torch.nn.Module = model.model.base_model
    backbone.load_state_dict(trained.state_dict())
    return reasoner


def greedy_accuracy(
    reasoner: LatentReasoner, problems: Sequence[Problem], *, latent_steps: int, answer_tokens: int
) -> float:
    """Share of problems that greedy decoding behind undisturbed latents answers right, in [0, 1].

    Args:
        reasoner: The reasoner.
        problems: At least one problem.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
    """
    right = 0
    for first in range(0, len(problems), _QUESTIONS_AT_ONCE):
        trajectories = sample_trajectories(
            reasoner,
            parse_sampler({"kind": "none"}),
            problems[first : first + _QUESTIONS_AT_ONCE],
            range(1),
            latent_steps=latent_steps,
            answer_tokens=answer_tokens,
            seed=0,
        )
        right += sum(trajectory.correct for trajectory in trajectories)
    return right / len(problems)
