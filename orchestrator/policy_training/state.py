"""Checkpoint of a policy's training: everything that its rest depends on."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from latent_core.columns import Ragged
from latent_core.policy.accuracy import Validation
from latent_core.policy.rollouts import RolloutBatch

STATE_FILE = "state.pt"


@dataclass
class TrainingState:
    """What a training has come to.

    Attributes:
        learner: `PolicyLearner.state_dict`.
        history: What every update came to, see `Entry` of the worker.
        start: How the start was judged, which later policies are compared with; in the first worker.
        pending: Rollouts by older weights that the next updates learn from.
    """

    learner: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    start: Validation | None = None
    pending: dict[int, RolloutBatch] = field(default_factory=dict)


def write_state(state: TrainingState, directory: Path) -> None:
    """Write a checkpoint."""
    content = {
        "learner": state.learner,
        "history": state.history,
        "start": None if state.start is None else _plain(state.start),
        "pending": {update: _plain(rollouts) for update, rollouts in state.pending.items()},
    }
    torch.save(content, directory / STATE_FILE)


def read_state(directory: Path) -> TrainingState:
    """Read a checkpoint; executes nothing of it."""
    content = torch.load(directory / STATE_FILE, map_location="cpu", weights_only=True)
    start = content["start"]
    return TrainingState(
        learner=content["learner"],
        history=content["history"],
        start=None if start is None else Validation(**_columns(start)),
        pending={update: RolloutBatch(**_columns(plain)) for update, plain in content["pending"].items()},
    )


def _plain(batch: Any) -> dict[str, Any]:
    """Return columns as tensors and lists, which is all that may stand in a file that is read without trust."""
    return {one.name: _plain_column(getattr(batch, one.name)) for one in fields(batch)}


def _plain_column(column: Any) -> Any:
    if isinstance(column, Ragged):
        packed = column.packed()
        return {"values": torch.tensor(packed.values), "lengths": torch.tensor(packed.lengths)}
    return list(column) if isinstance(column, list) else torch.tensor(column)


def _columns(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: _column(one) for name, one in plain.items()}


def _column(plain: Any) -> Any:
    if isinstance(plain, dict):
        return Ragged.behind_each_other(plain["values"].numpy(), plain["lengths"].numpy())
    return plain.numpy() if isinstance(plain, torch.Tensor) else plain
