"""What the store's benchmark writes can be read, and what it plans is what it left out."""

from pathlib import Path

from benchmarks.store import make_store, plan_seconds, read_rows, write_rows


def test_rows_are_written_and_read(tmp_path: Path) -> None:
    store = make_store(tmp_path, "rows")
    assert write_rows(store, 2) > 0
    assert read_rows(store, 2) > 0


def test_a_resume_is_planned(tmp_path: Path) -> None:
    seconds, missing = plan_seconds(make_store(tmp_path, "plan"), 240, 2)
    assert seconds > 0
    assert missing == 3
