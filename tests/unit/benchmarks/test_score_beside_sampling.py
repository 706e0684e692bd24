"""Scoring is measured beside the sampling of the same trajectories."""

from pathlib import Path

import pytest
import torch

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.random_model import random_problems_of
from benchmarks.score_beside_sampling import Bench, table

STEPS, FED, WRITTEN = 6, 6 + 1 + 11, 12


def test_a_line_is_measured(tmp_path: Path) -> None:
    bench = Bench("gpt2-tiny", tmp_path, torch.float32)
    line = bench.line(4, 2, rounds=1)
    assert line.scoring > 0
    assert line.share == line.scoring / line.sampling
    assert "| 4 | 2 |" in table([line])


def test_the_arithmetic_is_that_of_prompt_and_latents_over_that_of_whole_trajectories(tmp_path: Path) -> None:
    bench, n = Bench("gpt2-tiny", tmp_path, torch.float32), 5
    line = bench.line(n, 1, rounds=1)
    width, layers, tokens = 128, 3, bench.reasoner.model.config.vocab_size
    prompt = len(bench.reasoner.checkpoint.prompt_ids(random_problems_of(prompt_lengths(1))[0].question))
    position, key = 2 * layers * 12 * width**2, 4 * layers * width

    def read(context: int, count: int) -> float:
        return sum(position + key * (context + number) for number in range(1, count + 1))

    scoring = read(0, prompt) + n * read(prompt, STEPS)
    # Random weights never end an answer before its last token.
    sampling = read(0, prompt) + n * (read(prompt, FED) + WRITTEN * 2 * width * tokens)
    assert line.arithmetic == pytest.approx(scoring / sampling, rel=1e-6)
