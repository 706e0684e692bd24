"""Memory is measured in a process of its own."""

import sys
from pathlib import Path

import pytest

from benchmarks.memory import measured_apart, table
from benchmarks.random_model import save_random_reasoner


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_a_case_is_measured_apart(tmp_path: Path) -> None:
    save_random_reasoner("gpt2-tiny", 256, tmp_path)
    line = measured_apart(tmp_path, "float32", 4, 2)
    assert 0 < line.imported <= line.loading
    assert line.imported < line.sampling
    assert "| 4 | 2 |" in table([line])
