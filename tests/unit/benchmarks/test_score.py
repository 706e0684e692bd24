"""Both sides of the scoring benchmark come to the same scores, which a line of it checks by itself."""

from pathlib import Path

import torch

from benchmarks.score import Bench, table


def test_a_line_is_measured(tmp_path: Path) -> None:
    bench = Bench("gpt2-tiny", tmp_path, torch.device("cpu"), torch.float32)
    line = bench.line(4, 3, rounds=1)
    assert min(line.ours, line.plain) > 0
    assert 0 < line.share < 1
    assert "| 4 | " in table([line], bench.machine)
