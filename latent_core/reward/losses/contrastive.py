"""Contrastive, the method's own objective: candidates of a question compete at every step (arXiv 2510.07745)."""

from torch import Tensor

from latent_core.reward.losses.base import log_shares, mean_over_steps, register_loss


@register_loss()
def contrastive(rewards: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over questions and steps of -1/N sum_n y_t^(n) log softmax_n(r_t).

    The labels are not normalised to sum 1, as in the paper: a step at which many candidates are on a good way weighs
    more than one at which a single one is. The constant 1/N is ours, so that the size of the loss and of its gradient
    does not grow with the number of candidates; it moves no minimum. A step whose labels are all 0 contributes
    nothing; it still counts as a step.
    """
    own = (labels.masked_fill(~mask, 0.0) * log_shares(rewards, mask)).sum(dim=1)
    return mean_over_steps(-own / rewards.shape[1], mask)
