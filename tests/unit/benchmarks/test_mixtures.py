"""The plain loop that mixtures are compared with computes the same, and a line of the table can be measured."""

from pathlib import Path

import pytest
import torch

from benchmarks.mixtures import MixtureBench
from benchmarks.random_model import random_problems_of
from benchmarks.rollout import table
from latent_core.engine.sampling import sample_trajectories
from latent_core.samplers import parse_sampler


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> MixtureBench:
    folder: Path = tmp_path_factory.mktemp("random")
    return MixtureBench("gpt2-tiny", folder, torch.device("cpu"), torch.float32, all_logits=True)


def test_both_sides_think_and_write_the_same(bench: MixtureBench) -> None:
    assert bench.reasoner.checkpoint.format.feedback == "vocabulary_mixture"
    problems = random_problems_of([20, 41, 70])
    prompts = [bench.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    assert [len(prompt) for prompt in prompts] == [20, 41, 70]
    plain = bench.plain.roll_out(prompts, 2, steps=6, answer_tokens=5, sigma=0.0, dropout=0.0)
    rows = sample_trajectories(
        bench.reasoner, parse_sampler({"kind": "none"}), problems, range(2), latent_steps=6, answer_tokens=5, seed=0
    )
    assert [list(row.answer_ids) for row in rows] == plain.tolist()


def test_a_line_is_measured(bench: MixtureBench) -> None:
    line = bench.line("gumbel", 4, 3, rounds=1, with_plain=True)
    assert line.plain is not None
    assert min(line.ours, line.plain, line.memory) > 0
    assert 0 < line.share < 1
    assert "| gumbel | 4 | 3 |" in table([line], bench.machine)


def test_logits_of_every_step_are_in_the_limit(bench: MixtureBench) -> None:
    flops = bench.reasoner.flops
    assert flops.per_feedback == flops.per_logits > 0
