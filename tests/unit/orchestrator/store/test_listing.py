"""A listing finds the files of some rows, and one listing serves many reads."""

from pathlib import Path

import pandas as pd
import pytest
from support import trajectory_table

from latent_core.trajectory import Trajectory
from orchestrator.store.shards import Listing, Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore

FILES = [
    (Shard(0, 4, 0, 1), "a"),
    (Shard(2, 3, 1, 4), "b"),
    (Shard(4, 8, 0, 2), "c"),
    (Shard(4, 8, 2, 4), "d"),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((0, 8, 4), "abcd"),
        ((0, 8, 1), "ac"),
        ((0, 8, 2), "abc"),
        ((3, 4, 4), "a"),
        ((4, 5, 4), "cd"),
        ((8, 9, 4), ""),
        ((0, 0, 4), ""),
    ],
)
def test_files_of_rows(asked: tuple[int, int, int], found: str) -> None:
    assert "".join(name for _, name in Listing(FILES).among(*asked)) == found


def test_no_files() -> None:
    assert Listing([]).among(0, 10, 10) == []


def test_a_listing_serves_several_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrajectoryStore(str(tmp_path), TrajectorySpec("c", "t", {"kind": "none"}, 1, 4, 0, "float32"))
    store.prepare()
    for first in range(0, 6, 2):
        rows = [Trajectory(f"q{q}", 0, "1", "1", True, 1, 1, (5,), None, 1.0, 2.0, 0.1) for q in (first, first + 1)]
        store.write(Shard(first, first + 2, 0, 1), trajectory_table(rows, first, 1))
    whole, listing = store.read(6, 1), store.listing()
    monkeypatch.setattr(TrajectoryStore, "_entries", lambda _: pytest.fail("listed again"))
    parts = [store.read(first + 3, 1, None, first, None, listing) for first in (0, 3)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
