"""Loss of a LatentRM: from the rewards and the labels of the candidates of some questions to one number."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_core.registry import Registry

LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss over rewards, found by its name.

    All losses are a mean over questions of a mean over steps, so that neither the size of a batch nor the number
    of latent steps changes what a learning rate means, and gradients of workers with equally many questions average to
    the gradient of all.

    Attributes:
        name: What settings call it.
        function: From rewards, labels in [0, 1] and mask, all [B, N, S], to a scalar. B questions, N candidates, S
            steps: the latent steps, and one more where the written answer is scored. Where the mask (bool) is False
            there is no such step, or nothing is known of it; rewards and labels may hold anything there, NaN included.
        needs_step_labels: Whether it reads labels of steps other than the last.
    """

    name: str
    function: LossFunction
    needs_step_labels: bool = True

    def __call__(self, rewards: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Raises:
            ValueError: If the shapes differ or are not three-dimensional.
        """
        if rewards.ndim != 3 or rewards.shape != labels.shape or rewards.shape != mask.shape:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (rewards, labels, mask))
            raise ValueError(f"rewards, labels and mask must all be [questions, candidates, steps], got {shapes}")
        return self.function(rewards, labels, mask)


LOSSES: Registry[Loss] = Registry("objective", "latent_core.reward.losses")
"""Losses by the name that settings call them."""


def register_loss(*, needs_step_labels: bool = True) -> Callable[[LossFunction], Loss]:
    """Decorator that makes a loss of a function and makes it available under the function's name.

    Args:
        needs_step_labels: Whether it reads labels of steps other than the last.
    """

    def register(function: LossFunction) -> Loss:
        made = Loss(function.__name__, function, needs_step_labels)
        return LOSSES.register(made.name, made)

    return register


def log_shares(rewards: Tensor, mask: Tensor) -> Tensor:
    """Return log softmax over the candidates that have the step, [B, N, S]; 0 where the mask is False."""
    known = rewards.masked_fill(~mask, -torch.inf)
    # A step that no candidate has would be a softmax over nothing, whose gradient is not a number.
    known = known.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)
    return torch.log_softmax(known, dim=1).masked_fill(~mask, 0.0)


def mean_over_steps(losses: Tensor, mask: Tensor) -> Tensor:
    """Average losses [B, S] of questions and steps over the steps that exist, then over questions.

    Args:
        losses: [B, S], 0 where a question lacks the step.
        mask: [B, N, S].
    """
    steps = mask.any(dim=1).sum(dim=1)
    return (losses.sum(dim=1) / steps.clamp(min=1)).mean()
