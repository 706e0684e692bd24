"""The kinds of this package, as latentswarm finds them."""

import numpy as np
import pytest
import torch

from latent_core.answers.grading import find_grader
from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes


def test_the_sampler_is_found_and_draws_within_its_range() -> None:
    sampler = parse_sampler({"kind": "uniform", "width": 0.5})
    streams = Streams.for_questions(0, ["a", "b"])
    noise = sampler.perturb_latent(torch.zeros(2, 4096), streams, 1)
    assert noise.abs().max() <= 0.5
    assert abs(float(noise.std()) - 0.5 / 3**0.5) < 0.01
    # Nothing but the address of a row decides what is drawn for it.
    alone = sampler.perturb_latent(torch.zeros(1, 4096), Streams.for_questions(0, ["b"]), 1)
    assert torch.equal(alone[0], noise[1])


def test_the_grader_rounds() -> None:
    grader = find_grader("rounded")
    assert grader.is_correct("?", "3", "3.2")
    assert not grader.is_correct("?", "3", "3.6")


def test_the_aggregation_asks_for_all() -> None:
    correct = np.array([[True, True, False, False]])
    outcomes = Outcomes(correct, np.array([[0, 0, 1, 2]]))
    # Two of four samples are right: one pair of six consists of them.
    assert AGGREGATIONS["all_right"](outcomes, 2) == pytest.approx([1 / 6])
