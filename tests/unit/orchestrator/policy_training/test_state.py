"""A checkpoint of the training holds what was put into it, to the bit."""

from pathlib import Path

import numpy as np
import torch

from latent_core.columns import Ragged
from latent_core.policy.accuracy import Validation
from latent_core.policy.rollouts import RolloutBatch
from orchestrator.policy_training.state import TrainingState, read_state, write_state


def rollouts() -> RolloutBatch:
    rows = 4
    floats = np.linspace(0.1, 0.9, rows).astype(np.float32)
    flags = np.array([True, False, True, False])
    return RolloutBatch(
        question_id=["a", "a", "b", "b"],
        trajectory=np.array([0, 0, 0, 0], np.int32),
        answer=np.array([0, 1, 0, 1], np.int32),
        answer_ids=Ragged.of([[4, 5], [], [6], [7, 8, 9]], np.int32).take(np.array([3, 2, 1, 0])),
        reward=np.array([1, np.nan, 0, 1], np.float32),
        correct=flags,
        cut=~flags,
        unparsable=flags,
        logprob=-floats,
        entropy=floats,
        spread=floats,
        latent_steps=np.full(rows, 6, np.int32),
        seed=np.full(rows, 2**62 + 1, np.int64),
        version=np.full(rows, 3, np.int32),
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    start = Validation(["x", "y"], *(np.array([one, 1 - one]) for one in (0.0, 0.3, 0.5, 1.0)))
    learner = {"parameters": {"w": torch.tensor([0.1, 0.2])}, "version": 4, "rows": None}
    entries = [{"update": 0, "numbers": {"validation/greedy": 1 / 3}, "quality": 1 / 3, "seconds": 0.0}]
    write_state(TrainingState(learner, entries, start, {4: rollouts()}), tmp_path)
    state = read_state(tmp_path)
    assert state.history == entries
    assert torch.equal(state.learner["parameters"]["w"], learner["parameters"]["w"])  # type: ignore[index]
    assert state.start is not None
    assert [tuple(one) for one in state.start] == [tuple(one) for one in start]
    assert [repr(one) for one in state.pending[4]] == [repr(one) for one in rollouts()]
    assert state.pending[4].reward.dtype == np.float32
