"""Prompts side by side: padded on the right to few different lengths."""

import pytest
import torch

from latent_core.attention.padding import argsort_by_length, length_buckets, padded_length, right_padded, unsort
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory, TrajectoryBatch


@pytest.mark.parametrize(("tokens", "padded"), [(1, 32), (31, 32), (32, 32), (33, 64), (64, 64), (65, 96)])
def test_lengths_are_rounded_up(tokens: int, padded: int) -> None:
    assert padded_length(tokens) == padded


def test_padding_stands_on_the_right() -> None:
    prompts = [[5, 6, 7], [8], list(range(1, 33))]
    tokens, lengths = right_padded(prompts, 0, 96, torch.device("cpu"))
    assert tokens.shape == (3, 32)
    assert lengths.tolist() == [3, 1, 32]
    for row, prompt in enumerate(prompts):
        assert tokens[row, : len(prompt)].tolist() == prompt
        assert not tokens[row, len(prompt) :].any()


def test_padding_ends_where_the_model_has_no_more_positions() -> None:
    tokens, lengths = right_padded([[1] * 33, [2]], 0, 40, torch.device("cpu"))
    assert tokens.shape == (2, 40)
    assert lengths.tolist() == [33, 1]


def test_neighbours_of_one_padded_length_are_a_run() -> None:
    prompts = [[1] * length for length in (3, 32, 33, 64, 5)]
    assert list(length_buckets(prompts, torch.device("cpu"))) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_results_return_to_the_order_that_was_asked_for() -> None:
    prompts = [[1] * length for length in (9, 2, 5, 2)]
    order = argsort_by_length(prompts)
    assert order == [1, 3, 2, 0]
    asked = [Problem(f"q{question}", "?", "1") for question in range(4)]
    rows = [Trajectory.failed(asked[question], sample, "no") for question in order for sample in range(3)]
    found = unsort(TrajectoryBatch.of(rows), order)
    assert found.rows() == [Trajectory.failed(problem, sample, "no") for problem in asked for sample in range(3)]


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        # 32 short prompts gain 64 positions each beside the long one: half of what a pass is worth.
        ([32] * 32 + [96], [slice(0, 33)]),
        ([32] * 65 + [96], [slice(0, 65), slice(65, 66)]),
        ([96] + [32] * 70, [slice(0, 65), slice(65, 71)]),
        ([], []),
    ],
)
def test_a_gpu_reads_longer_prompts_along_while_padding_is_cheap(lengths: list[int], runs: list[slice]) -> None:
    assert list(length_buckets([[1] * length for length in lengths], torch.device("cuda"))) == runs
