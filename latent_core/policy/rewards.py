"""Rewards: correctness by the task's grader, shaped by a LatentRM and by what thinking costs."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_core.policy.settings import PolicySettings
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates


def rewards_of(
    correct: NDArray[np.bool_],
    steps: NDArray[np.int64],
    most_steps: int,
    settings: PolicySettings,
    scores: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return correct + shaping_weight x score - length_cost x steps / most_steps of every answer, [answers].

    Args:
        correct: Whether each answer is right, bool [answers].
        steps: Latent steps behind it, int64 [answers].
        most_steps: The most steps that there may be.
        settings: The weights of the parts.
        scores: A LatentRM's scores, [answers]; None where they have no weight.
    """
    rewards = correct.astype(np.float64) - settings.length_cost * steps / most_steps
    return rewards if scores is None else rewards + settings.shaping_weight * scores


@torch.inference_mode()
def latent_scores(
    model: LatentRewardModel, prompts: Sequence[Sequence[int]], latents: Tensor, steps: Tensor
) -> NDArray[np.float64]:
    """Return the latent-only score of every trajectory, [rows], question by question.

    Args:
        model: The LatentRM.
        prompts: Token ids of the questions.
        latents: [rows, T, hidden size].
        steps: Latent steps of each row, int64 [rows].
    """
    candidates = CandidateBatch(latents.to(model.device), steps.to(model.device))
    scores: NDArray[np.float64] = score_candidates(model, prompts, candidates, apart=True).score.double().cpu().numpy()
    return scores
