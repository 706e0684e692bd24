"""Which failures of a training are worth another start, and what the others end with."""

import pytest
from ray.exceptions import ActorDiedError
from ray.train.v2.api.exceptions import WorkerGroupError

from latent_core.errors import UserError
from orchestrator.pipeline.training_failures import fit_through_losses

LOST = WorkerGroupError("lost", {0: ActorDiedError(), 1: RuntimeError("[gloo/transport/tcp/pair.cc:534] closed")})
PEER = WorkerGroupError("peer", {1: RuntimeError("Connection closed by peer [127.0.0.1]:1234")})
BUG = WorkerGroupError("bug", {0: ValueError("a batch needs latents")})
WRONG = WorkerGroupError("wrong", {0: UserError("data x.parquet: cannot be read")})


def starts(*outcomes: WorkerGroupError | int, losses: int = 8) -> tuple[int, int | BaseException, list[str]]:
    """Train with what each start comes to; returns the number of starts, the end, and what was said."""
    waiting, said = list(outcomes), list[str]()

    def fit() -> int:
        outcome = waiting.pop(0)
        if isinstance(outcome, int):
            return outcome
        raise outcome

    try:
        end: int | BaseException = fit_through_losses(fit, losses, said.append, "micro_batch")
    except (UserError, WorkerGroupError) as error:
        end = error
    return len(outcomes) - len(waiting), end, said


def test_after_a_loss_training_goes_on() -> None:
    number, end, said = starts(LOST, PEER, 7)
    assert (number, end) == (3, 7)
    assert said[1] == "a training worker was lost (2 of 8 times); going on from the last checkpoint"


def test_too_many_losses_end_it() -> None:
    assert starts(LOST, LOST, 7, losses=1)[:2] == (2, LOST)


@pytest.mark.parametrize("error", [BUG, WRONG])
def test_what_the_code_raises_ends_it_at_once(error: WorkerGroupError) -> None:
    number, end, said = starts(error, 7)
    assert (number, said) == (1, [])
    assert end is (error.worker_failures[0] if error is WRONG else BUG)
