"""Plain binary cross-entropy of every step by itself: the paper's ablation without competition (arXiv 2510.07745)."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from latent_core.reward.losses.base import mean_over_steps, register_loss


@register_loss()
def bce(rewards: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over questions, steps and candidates of the cross-entropy between y_t and sigmoid(r_t).

    Candidates without the step are left out of its mean. All-wrong steps do contribute: their rewards are to be low.
    """
    known = labels.masked_fill(~mask, 0.0)
    losses = binary_cross_entropy_with_logits(rewards.masked_fill(~mask, 0.0), known, reduction="none")
    per_step = losses.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return mean_over_steps(per_step, mask)
