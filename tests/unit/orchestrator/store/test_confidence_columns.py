"""Shards that are older than the record of confidence are read, and say nothing of it."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import trajectory_table

from latent_core.trajectory import Trajectory
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from workers.tables import CONFIDENCE_COLUMNS, trajectory_schema

SPEC = TrajectorySpec("c", "t", {"kind": "none"}, 1, 4, 0, "float32")
COLUMNS = ["question_id", "answer_logprob", "cut", "token_entropy"]


def row(sample: int, logprob: float | None) -> Trajectory:
    entropy = None if logprob is None else -logprob / 2
    return Trajectory("a", sample, "1", "1", True, 1, 2, (1, 2), None, 1.0, 1.0, 0.0, None, False, logprob, entropy)


def old_table(table: pa.Table) -> pa.Table:
    return table.drop_columns(list(CONFIDENCE_COLUMNS))


@pytest.mark.parametrize("order", [(True, False), (False, True), (True, True), (False, False)])
def test_old_and_new_shards_are_read_together(tmp_path: Path, order: tuple[bool, bool]) -> None:
    store = TrajectoryStore(str(tmp_path), SPEC, end_ids=[2])
    store.prepare()
    for first, is_old in enumerate(order):
        table = trajectory_table([row(first, -1.5 - first)], 0, 1)
        store.write(Shard(0, 1, first, first + 1), old_table(table) if is_old else table)
    found = store.read(1, 2, COLUMNS)
    for first, is_old in enumerate(order):
        assert pd.isna(found["answer_logprob"][first]) == is_old
        assert is_old or found["answer_logprob"][first] == -1.5 - first
        assert is_old or found["token_entropy"][first] == (1.5 + first) / 2
    assert not found["cut"].any()
    assert len(store.read(1, 2)) == 2


def test_what_failed_is_null_in_the_table(tmp_path: Path) -> None:
    failed = Trajectory("a", 1, "", None, False, 0, 0, (), None, 0.0, 0.0, 0.0, "broken")
    table = trajectory_table([row(0, -2.0), failed], 0, 2)
    assert table.schema.equals(trajectory_schema())
    assert table["answer_logprob"].to_pylist() == [-2.0, None]
    assert table["token_entropy"].to_pylist() == [1.0, None]
    pq.write_table(table, tmp_path / "one.parquet")
    assert pq.read_table(tmp_path / "one.parquet").equals(table)
