"""Contrastive with labels that sum to 1: every step of every question weighs the same. Ours, not the paper's."""

from torch import Tensor

from latent_core.reward.objectives.base import log_shares, mean_over_steps, register_objective


@register_objective()
def contrastive_normalised(rewards: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over questions and steps of the cross-entropy between y_t / sum_n y_t^(n) and softmax_n(r_t).

    For each question and step it has the same minimum as `contrastive`; hard questions, at which few candidates
    succeed, weigh as much as easy ones, at which there is less to choose. A step whose labels are all 0 contributes
    nothing; it still counts as a step.
    """
    known = labels.masked_fill(~mask, 0.0)
    shares = known / known.sum(dim=1, keepdim=True).clamp(min=1e-9)
    return mean_over_steps(-(shares * log_shares(rewards, mask)).sum(dim=1), mask)
