"""Two kills of the full drill, which is `make drill`: a node with actors in the middle of a sweep, and its driver."""

import sys
from pathlib import Path

import pytest

from benchmarks.drill import run_drill


@pytest.mark.timeout(1800)
def test_nobody_can_tell_afterwards(tmp_path: Path, forked_workers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", forked_workers)
    assert run_drill(tmp_path, kills=2, per_sweep=2, seed=7, victims=["node", "driver"]) == []
