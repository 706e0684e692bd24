"""Trajectories as rows of a table."""

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from workers.tables import trajectory_schema

LATENTS = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
GOOD = Trajectory("a", 5, "### 7", "7", True, 3, 4, (11, 7, 0, 2), LATENTS, 10.0, 20.5, 0.25)
UNREADABLE = GOOD._replace(sample_index=6, answer_text="###", answer=None, correct=False)
FAILED = Trajectory.failed(Problem("b", "?", "1"), 5, "RuntimeError: no")
ROWS = [GOOD, UNREADABLE, FAILED, FAILED._replace(sample_index=6)]


def test_every_field_of_a_trajectory_is_stored() -> None:
    names = set(Trajectory._fields)
    assert set(trajectory_schema("float16").names) == names | {"question_index"}
    assert set(trajectory_schema().names) == names - {"latents"} | {"question_index"}


def test_rows_keep_their_values_and_nulls() -> None:
    table = trajectory_table(ROWS, first_question=40, samples=2)
    assert table.schema.equals(trajectory_schema())
    rows = table.to_pylist()
    assert [(row["question_id"], row["question_index"], row["sample_index"]) for row in rows] == [
        ("a", 40, 5),
        ("a", 40, 6),
        ("b", 41, 5),
        ("b", 41, 6),
    ]
    for row, trajectory in zip(rows, ROWS, strict=True):
        for name in row.keys() - {"question_index"}:
            value = getattr(trajectory, name)
            assert row[name] == (list(value) if name == "answer_ids" else value), name
    assert rows[1]["answer"] is None
    assert rows[0]["error"] is None


@pytest.mark.parametrize(("latents", "dtype"), [("float16", np.float16), ("float32", np.float32)])
def test_latents_are_kept_with_the_precision_asked_for(latents: str, dtype: type[np.floating]) -> None:
    table = trajectory_table(ROWS, 0, 2, latents)
    assert table.schema.field("latents").type == pa.list_(pa.from_numpy_dtype(dtype))
    values = table["latents"].to_pylist()
    np.testing.assert_array_equal(np.array(values[0], dtype=dtype).reshape(3, 4), LATENTS.astype(dtype))
    assert values[2] is None


def test_a_shard_of_failures_only_has_the_same_schema() -> None:
    table = trajectory_table([FAILED, FAILED], 0, 2, "float16")
    assert table.schema.equals(trajectory_schema("float16"))
    assert table["latents"].null_count == 2


def test_latents_that_fill_more_than_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trajectory_table(ROWS, 0, 2, "float16")
    monkeypatch.setattr("workers.tables._MOST_VALUES", 2 * LATENTS.size)
    table = trajectory_table(ROWS, 0, 2, "float16")
    assert table["latents"].num_chunks == 2
    assert table.equals(whole)


def test_a_table_without_rows_has_the_same_schema() -> None:
    assert trajectory_table([], 0, 1, "float32").schema.equals(trajectory_schema("float32"))
