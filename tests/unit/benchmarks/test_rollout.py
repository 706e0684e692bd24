"""The plain loop that rollouts are compared with computes the same answers, and a line of the table can be measured."""

from pathlib import Path

import pytest
import torch

from benchmarks.random_model import random_problems_of
from benchmarks.rollout import Bench, table
from latent_core.engine.sampling import sample_trajectories
from latent_core.samplers import parse_sampler


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder: Path = tmp_path_factory.mktemp("random")
    return Bench("gpt2-tiny", folder, torch.device("cpu"), torch.float32, all_logits=True)


def test_both_sides_write_the_same(bench: Bench) -> None:
    problems = random_problems_of([20, 41, 70])
    prompts = [bench.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    assert [len(prompt) for prompt in prompts] == [20, 41, 70]
    plain = bench.plain.roll_out(prompts, 2, steps=6, answer_tokens=5, sigma=0.0, dropout=0.0)
    rows = sample_trajectories(
        bench.reasoner, parse_sampler({"kind": "none"}), problems, range(2), latent_steps=6, answer_tokens=5, seed=0
    )
    assert [list(row.answer_ids) for row in rows] == plain.tolist()


@pytest.mark.parametrize("sampler", ["noise", "dropout"])
def test_a_line_is_measured(bench: Bench, sampler: str) -> None:
    line = bench.line(sampler, 4, 3, rounds=1, with_plain=True)
    assert line.plain is not None
    assert min(line.ours, line.plain, line.memory) > 0
    assert 0 < line.share < 1
    assert f"| {sampler} | 4 | 3 |" in table([line], bench.machine)


def test_prompts_may_be_longer_than_those_of_a_benchmark(tmp_path: Path) -> None:
    bench = Bench("gpt2-tiny", tmp_path, torch.device("cpu"), torch.float32, all_logits=True, prompt_tokens=300)
    line = bench.line("noise", 4, 1, rounds=1, with_plain=False)
    assert line.plain is None
    assert line.ours > 0
