"""Contrastive with outcome-only labels: every step is labelled by the trajectory's own correctness (an ablation)."""

import torch
from torch import Tensor

from latent_core.reward.losses.base import register_loss
from latent_core.reward.losses.contrastive import contrastive


@register_loss(needs_step_labels=False)
def outcome(rewards: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the contrastive loss with each label replaced by the candidate's last one, its own correctness.

    It needs no stochastic completions: labels of earlier steps may be unknown, but the mask has to call them present.
    """
    step = torch.arange(mask.shape[2], device=mask.device)
    last = torch.where(mask, step, 0).amax(dim=2, keepdim=True)
    return contrastive.function(rewards, labels.gather(2, last).expand_as(labels), mask)
