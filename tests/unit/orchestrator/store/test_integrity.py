"""Integrity of shards: what is damaged is named, and never read as something else."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import trajectory_table

from latent_core.trajectory import Trajectory
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial, around_damage, disregard_damaged

SPEC = TrajectorySpec("checkpoint", "task", {"kind": "gaussian", "sigma": 0.4}, 6, 32, 0, "float32")
SHARD = Shard(0, 2, 0, 4)
OTHER = Shard(2, 4, 0, 4)
IDS = [f"q{question}" for question in range(4)]


def table_of(shard: Shard, shift: int = 0) -> pa.Table:
    rows = [
        Trajectory(
            f"q{question}",
            sample,
            f"### {sample + shift}",
            str(sample + shift),
            sample == 1,
            2,
            4,
            (1, sample),
            None,
            1.0,
            2.0,
            0.5,
        )
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]
    return trajectory_table(rows, shard.first_question, shard.samples)


@pytest.fixture
def store(tmp_path: Path) -> TrajectoryStore:
    store = TrajectoryStore(str(tmp_path / "store"), SPEC)
    store.prepare()
    for shard in (SHARD, OTHER):
        store.write(shard, table_of(shard))
    return store


def path_of(store: TrajectoryStore, shard: Shard = SHARD) -> Path:
    return Path(store.directory) / shard.file_name()


def trial_of(store: TrajectoryStore) -> Trial:
    return Trial("gaussian", "gaussian", 4, (4,), store)


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path)

    return write


def with_column(name: str, values: Callable[[pa.Table], pa.Array]) -> Callable[[Path], None]:
    return rewritten(lambda table: table.set_column(table.schema.get_field_index(name), name, values(table)))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (lambda path: path.write_bytes(b"") and None, "0 bytes"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]) and None, "Parquet"),
    "text": (lambda path: path.write_text("question_id,answer\n" * 20) and None, "Parquet"),
    "foreign": (lambda path: pq.write_table(pa.table({"x": list(range(8))}), path), "no column"),
    "fewer rows": (rewritten(lambda table: table.slice(0, 5)), "5 rows instead of 8"),
    "correct is null": (with_column("correct", lambda _: pa.array([None] * 8, pa.bool_())), "'correct' has no value"),
    "correct is text": (with_column("correct", lambda _: pa.array(["yes"] * 8)), "of type string instead of bool"),
    "ids": (with_column("question_id", lambda _: pa.array(["q1"] * 4 + ["q0"] * 4)), "question_id does not fit"),
    "mixed ids": (with_column("question_id", lambda _: pa.array(["q0", "q1"] * 4)), "question_id does not fit"),
    "order": (
        with_column("sample_index", lambda table: pa.array(table["sample_index"].to_pylist()[::-1])),
        "sample_index is not",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_named_set_aside_and_made_again(store: TrajectoryStore, kind: str) -> None:
    spoil, reason = DAMAGE[kind]
    spoil(path_of(store))
    content = path_of(store).read_bytes()
    with pytest.raises(DamagedShard) as refused:
        store.read(4, 4, ["question_id", "answer", "correct", "error", "cut"], question_ids=IDS)
    assert path_of(store).name in str(refused.value)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    (line,) = store.set_aside_damaged(store.damaged(IDS))
    assert path_of(store).name in line
    assert "set aside as" in line
    (aside,) = [path for path in Path(store.directory).iterdir() if ".damaged-" in path.name]
    assert aside.read_bytes() == content
    assert store.shards() == [OTHER]
    store.write(SHARD, table_of(SHARD))
    assert store.damaged(IDS) == []
    assert len(store.read(4, 4)) == 16


def test_bit_flips_are_found_or_change_nothing(store: TrajectoryStore) -> None:
    columns = ["question_id", "answer_text", "answer", "correct", "error", "flops", "cut"]
    path, draws = path_of(store), np.random.default_rng(0)
    whole, expected = path.read_bytes(), store.read(2, 4, columns, question_ids=IDS)
    found = 0
    for bit in draws.choice(len(whole) * 8, 400, replace=False).tolist():
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            rows = store.read(2, 4, columns, question_ids=IDS)
        except DamagedShard:
            found += 1
        else:
            pd.testing.assert_frame_equal(rows, expected)
    assert found > 100


def test_shards_without_checksums_are_read(store: TrajectoryStore) -> None:
    expected = store.read(4, 4)
    pq.write_table(table_of(SHARD), path_of(store), compression="zstd")
    assert store.damaged(IDS) == []
    pd.testing.assert_frame_equal(store.read(4, 4), expected)


def test_shards_that_contradict_each_other_are_both_set_aside(store: TrajectoryStore) -> None:
    overlapping = Shard(1, 3, 1, 3)
    store.write(overlapping, table_of(overlapping))
    assert store.damaged(IDS) == []
    store.write(overlapping, table_of(overlapping, shift=1))
    (damage,) = store.damaged(IDS)
    assert damage.files == (SHARD.file_name(), overlapping.file_name())
    assert "different answers of question 1, sample 1" in str(damage)
    store.set_aside_damaged(store.damaged(IDS))
    assert store.shards() == [OTHER]


def test_a_row_that_failed_once_is_no_contradiction(store: TrajectoryStore) -> None:
    single = Shard(0, 1, 0, 1)
    failed = [Trajectory("q0", 0, "", None, False, 0, 0, (), None, 0.0, 0.0, 0.0, "OutOfMemoryError: no")]
    store.write(single, trajectory_table(failed, 0, 1))
    assert store.damaged(IDS) == []
    assert store.read(4, 4, ["answer", "error"])["error"].isna().all()


def test_who_only_looks_leaves_damaged_shards_where_they_are(store: TrajectoryStore) -> None:
    path_of(store).write_bytes(b"")
    trial = trial_of(store)
    rows, lines = around_damage([trial], lambda: trial.store.read(4, 4, ["answer"]))
    assert (len(rows), len(lines)) == (8, 1)
    assert path_of(store).name in lines[0]
    assert trial.coverage(4).missing == 8
    again = trial_of(TrajectoryStore(store.root, SPEC))
    assert len(disregard_damaged([again], IDS)) == 1
    assert again.coverage(4).missing == 8
    assert path_of(store).exists()


def test_damage_crosses_processes(store: TrajectoryStore) -> None:
    path_of(store).write_bytes(b"")
    (damage,) = store.damaged(IDS)
    assert str(pickle.loads(pickle.dumps(damage))) == str(damage)


def test_a_storage_that_cannot_be_read_is_not_damage(store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(store.directory).joinpath(SHARD.file_name()).unlink()
    monkeypatch.setattr(store, "_files", lambda: iter([(SHARD, SHARD.file_name())]))
    with pytest.raises(FileNotFoundError):
        store.read(4, 4)


def test_a_large_shard_is_written_in_row_groups_and_read_as_one(tmp_path: Path) -> None:
    shard, width = Shard(0, 8, 0, 64), 100_000
    store = TrajectoryStore(str(tmp_path), SPEC, "float16")
    store.prepare()
    small = table_of(shard)
    offsets = pa.array(np.arange(shard.rows + 1, dtype=np.int32) * width)
    values = pa.array(np.resize(np.arange(1 << 11).astype(np.float16), shard.rows * width))
    store.write(shard, small.append_column("latents", pa.ListArray.from_arrays(offsets, values)))
    file = pq.ParquetFile(Path(store.directory) / shard.file_name("float16"))
    assert file.metadata.num_row_groups == 4
    assert store.damaged() == []
    table = store.table(shard, "float16")
    assert table.num_rows == shard.rows
    assert table["latents"].combine_chunks().flatten().equals(values)
    # A small one is in one piece, as it always was.
    other = TrajectoryStore(str(tmp_path / "small"), SPEC)
    other.prepare()
    other.write(shard, small)
    assert pq.ParquetFile(path_of(other, shard)).metadata.num_row_groups == 1
