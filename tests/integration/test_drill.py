"""Some kills of the full drill, which is `make drill`: a driver, a node with actors, and the tracking server."""

from pathlib import Path

from benchmarks.drill import run_drill


def test_nobody_can_tell_afterwards(tmp_path: Path) -> None:
    assert run_drill(tmp_path, kills=3, per_sweep=3, seed=7, victims=["node", "tracking server", "driver"]) == []
