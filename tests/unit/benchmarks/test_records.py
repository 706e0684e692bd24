"""Records are timed as actors make them."""

from pathlib import Path

import pytest
import torch

from benchmarks.records import Bench, table


@pytest.mark.parametrize("latents", ["none", "float16"])
def test_a_line_is_measured(tmp_path: Path, latents: str) -> None:
    bench = Bench(tmp_path, torch.device("cpu"), questions=2)
    line = bench.line("all differ", latents, rounds=1)
    assert min(line.records, line.table) > 0
    assert f"| all differ | {latents} | " in table([line])
