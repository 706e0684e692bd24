"""The stage that stores shards; the one that asks actors is tested with Ray."""

from pathlib import Path

import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.records import trajectory_table
from orchestrator.shards import Shard
from orchestrator.stages import Persist
from orchestrator.store import SettingStore, TrajectorySpec

ROWS = [
    Trajectory("a", 2, "1", "1", True, 2, 1, None, 1.0, 2.0, 0.1),
    Trajectory("a", 3, "2", "2", False, 2, 1, None, 1.0, 2.0, 0.1),
    Trajectory.failed(Problem("b", "?", "1"), 2, "RuntimeError: no"),
    Trajectory("b", 3, "1", "1", True, 2, 1, None, 1.0, 2.0, 0.1),
]


@pytest.fixture
def store(tmp_path: Path) -> SettingStore:
    made = SettingStore(str(tmp_path), TrajectorySpec("c", "t", {"kind": "none"}, 2, 4, 0, "float32"))
    made.prepare()
    return made


def test_a_shard_is_stored_and_only_its_receipt_goes_on(store: SettingStore) -> None:
    receipt = Persist(store)(trajectory_table(ROWS, first_question=7, samples=2))
    assert receipt.to_pylist() == [{"rows": 4, "correct": 2, "errors": 1}]
    assert store.shards() == [Shard(7, 9, 2, 4)]
    assert store.read(9, 4)["question_id"].tolist() == ["a", "a", "b", "b"]


def test_what_is_not_a_whole_shard_is_not_stored(store: SettingStore) -> None:
    """Its file name would claim trajectories that are not in it."""
    with pytest.raises(ValueError, match="a block of 3 rows is not the whole shard"):
        Persist(store)(trajectory_table(ROWS, first_question=7, samples=2).slice(0, 3))
    assert store.shards() == []
