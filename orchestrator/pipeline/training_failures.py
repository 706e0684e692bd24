"""Failures of training workers: which are worth going on from the last checkpoint, and what the others mean.

A worker that is lost with its process or its node is replaced. An error that the training code raises comes back as
often as it is run: beginning anew would only hide it.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed
from ray.exceptions import RayError, RayTaskError
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from latent_core.errors import UserError
from orchestrator.pipeline.dispatch import user_error

T = TypeVar("T")

_OF_LOST_PEERS = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What the workers that are left say of one that is lost; gloo has no class of its own for it."""


def fit_through_losses(fit: Callable[[], T], losses: int, say: Callable[[str], None], needs_less: str) -> T:
    """Run a training, and run it on after each loss of a worker.

    Args:
        fit: Trains, from the last checkpoint on.
        losses: How many losses are borne.
        say: Tells a person of each.
        needs_less: What to lower where memory does not suffice, in words.

    Raises:
        UserError: If the training code has raised it, or memory does not suffice.
        TrainingFailedError: If it has raised anything else, or too many workers were lost.
    """
    lost = 0
    while True:
        try:
            return fit()
        except TrainingFailedError as error:
            if not is_loss(error) or lost == losses:
                raise explained(error, needs_less) from error
        lost += 1
        say(f"a training worker was lost ({lost} of {losses} times); going on from the last checkpoint")


def is_loss(error: TrainingFailedError) -> bool:
    """Whether a training has failed because a worker or a node was lost."""
    # Where one worker is lost, the errors of the others follow from that.
    return isinstance(error, WorkerGroupError) and any(map(_is_lost, error.worker_failures.values()))


def _is_lost(error: BaseException) -> bool:
    # An error that a task of Ray Data has raised is one of the code, whatever Ray wraps it in.
    if isinstance(error, RayTaskError):
        return False
    if isinstance(error, RayError | RayTrainError | torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(mark in str(error) for mark in _OF_LOST_PEERS)


def explained(error: TrainingFailedError, needs_less: str) -> BaseException:
    """Return what a failed training is to end with: one line for what is the user's to mend, else the error itself."""
    failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    for failure in failures:
        if isinstance(failure, UserError):
            return failure
        if isinstance(failure, torch.OutOfMemoryError):
            return UserError(
                f"out of memory: a training worker has none left ({' '.join(str(failure).split())[:200]}); lower "
                f"{needs_less}"
            )
    return user_error(error) or error
