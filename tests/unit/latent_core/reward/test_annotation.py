"""Step labels: against a reasoner whose chances are known, and against a recomputation that shares nothing."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.annotate import plain_labels
from benchmarks.plain_loop import PlainLoop
from latent_core.engine.trajectories import read_trajectories
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.reward import annotation
from latent_core.reward.annotation import annotate
from latent_core.reward.types import LabelledBatch, LabelledTrajectory
from latent_core.samplers import Sampler, parse_sampler
from latent_core.samplers.base import DrawSite
from latent_core.tasks.base import Problem
from latent_core.tasks.word_problems import word_problems
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer
from latent_core.trajectory import CutAnswers, TrajectoryBatch

STEPS = 5
CHANCE = 0.55
COORDINATE = 1
VOTE: dict[str, Any] = {"cut_answers": "vote"}
"""The coin counter never writes an end token: its answers are one token long, and that is all they may be."""
NOISE = parse_sampler({"kind": "gaussian", "sigma": 0.7, "relative": True})


class CoinToss(Sampler):
    """Every latent step is a coin: a vector that says heads with a known probability, or its opposite."""

    kind: ClassVar[str] = "coin_toss"

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        heads = streams.uniform(step, DrawSite.LATENT_NOISE, 1) < CHANCE
        coin = torch.zeros_like(latent)
        coin[:, COORDINATE] = torch.where(heads, 1.0, -1.0).squeeze(1)
        coin[:, COORDINATE + 1] = -coin[:, COORDINATE]
        return coin


@pytest.fixture(scope="module")
def coin_counter(tmp_path_factory: pytest.TempPathFactory) -> LatentReasoner:
    """A GPT-2 whose weights are set by hand: it answers 1 where more than half of its latent steps were heads."""
    directory: Path = tmp_path_factory.mktemp("checkpoints") / "coins"
    tokenizer = build_tokenizer(["toss", "###1", "###0"], 64)
    # The marks and the digit are one word here, so that an answer is one token.
    tokenizer.backend_tokenizer.pre_tokenizer = None
    settings = ArchitectureSettings(width=16, layers=1, heads=1, positions=64, number_periods=(10.0,))
    model = build_model(settings, tokenizer)
    ids = tokenizer.get_vocab()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        block = model.transformer.h[0]
        for norm in (block.ln_1, model.transformer.ln_f):
            norm.weight.fill_(1.0)
        # No queries and keys: every position is attended to alike. Values carry what a coin says.
        block.attn.c_attn.weight[COORDINATE, 2 * 16] = 1.0
        block.attn.c_proj.weight[0, COORDINATE] = 1.0
        model.transformer.wte.weight[ids["###1"], COORDINATE] = 1.0
        model.transformer.wte.weight[ids["###0"], COORDINATE] = -1.0
    save_checkpoint(model, tokenizer, directory, torch.float32)
    return LatentReasoner.from_pretrained(str(directory))


def test_the_coin_counter_counts(coin_counter: LatentReasoner) -> None:
    for row in toss(coin_counter, candidates=32, rollouts=0):
        heads = int((row.trajectory.latents[:, COORDINATE] > 0).sum())
        assert row.trajectory.answer == str(int(2 * heads > STEPS))


@pytest.mark.parametrize("rollouts", [16, 256])
def test_labels_converge_to_the_known_chances(coin_counter: LatentReasoner, rollouts: int) -> None:
    rows = toss(coin_counter, candidates=16, rollouts=rollouts)
    labels = np.stack([row.labels for row in rows])
    chances = np.array([[chance_of_success(row, step) for step in range(1, STEPS + 1)] for row in rows])
    assert labels.shape == chances.shape == (16, STEPS)
    # Hoeffding's inequality for all labels together, to be broken once in a hundred thousand such tests.
    bound = math.sqrt(math.log(2 * labels.size / 1e-5) / (2 * rollouts))
    assert np.abs(labels - chances).max() < bound
    # The mean over many labels is far closer, which a bias would not be.
    assert abs((labels - chances).mean()) < 4 * math.sqrt(0.25 / (rollouts * labels.size))
    np.testing.assert_array_equal(labels[:, -1], chances[:, -1])


def toss(reasoner: LatentReasoner, candidates: int, rollouts: int, cut_answers: CutAnswers = "vote") -> LabelledBatch:
    problem = Problem("coins", "toss", "1")
    return annotate(
        reasoner,
        CoinToss(),
        [problem],
        candidates,
        rollouts,
        latent_steps=STEPS,
        answer_tokens=1,
        seed=3,
        cut_answers=cut_answers,
    )


def chance_of_success(row: LabelledTrajectory, step: int) -> float:
    """The chance that more than half of all tosses are heads, once the first ones are known."""
    heads = int((row.trajectory.latents[:step, COORDINATE] > 0).sum())
    left = STEPS - step
    return sum(
        math.comb(left, more) * CHANCE**more * (1 - CHANCE) ** (left - more)
        for more in range(left + 1)
        if 2 * (heads + more) > STEPS
    )


def test_equals_a_recomputation_without_sharing() -> None:
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    problem = word_problems().problems[0]
    candidates, rollouts, steps, tokens, seed = 6, 4, 6, 4, 0
    rows = annotate(
        reasoner, NOISE, [problem], candidates, rollouts, latent_steps=steps, answer_tokens=tokens, seed=seed
    )
    assert 0 < sum(row.trajectory.correct for row in rows) < candidates
    plain = plain_labels(PlainLoop(reasoner.checkpoint), NOISE, problem, candidates, rollouts, (steps, tokens), 1)
    for row, labels in zip(rows, plain, strict=True):
        assert row.labels is not None
        np.testing.assert_allclose(row.labels, labels, atol=1e-6)


def test_questions_without_both_outcomes_are_not_labelled(coin_counter: LatentReasoner) -> None:
    problems = [Problem("possible", "toss", "1"), Problem("impossible", "toss", "7")]
    rows = annotate(coin_counter, CoinToss(), problems, 8, 4, latent_steps=STEPS, answer_tokens=1, seed=0, **VOTE)
    assert all(row.labels is not None for row in rows[:8])
    assert all(row.labels is None and row.label_flops == 0 for row in rows[8:])


def test_an_answer_of_zero_is_an_answer(coin_counter: LatentReasoner) -> None:
    rows = annotate(
        coin_counter,
        CoinToss(),
        [Problem("z", "toss", "0")],
        16,
        8,
        latent_steps=STEPS,
        answer_tokens=1,
        seed=0,
        **VOTE,
    )
    assert any(row.trajectory.correct for row in rows)
    assert all(row.labels is not None for row in rows)


def test_without_completions_only_the_last_step_is_labelled(coin_counter: LatentReasoner) -> None:
    for row in toss(coin_counter, candidates=8, rollouts=0):
        assert row.labels is not None
        assert np.isnan(row.labels[:-1]).all()
        assert row.labels[-1] == row.trajectory.correct


def test_labels_do_not_depend_on_the_neighbours(coin_counter: LatentReasoner) -> None:
    problems = [Problem(f"coins-{index}", "toss", "1") for index in range(5)]
    together = annotate(coin_counter, CoinToss(), problems, 4, 8, latent_steps=STEPS, answer_tokens=1, seed=0, **VOTE)
    for index, problem in enumerate(problems):
        alone = annotate(coin_counter, CoinToss(), [problem], 4, 8, latent_steps=STEPS, answer_tokens=1, seed=0, **VOTE)
        for one, other in zip(alone, together[4 * index : 4 * index + 4], strict=True):
            assert one.trajectory.answer == other.trajectory.answer
            np.testing.assert_array_equal(one.labels, other.labels)


def test_cut_answers_are_wrong_wherever_they_abstain(coin_counter: LatentReasoner) -> None:
    """Of a candidate and of a completion alike: else the last label would not be what the others are a chance of."""
    for row in toss(coin_counter, candidates=8, rollouts=4, cut_answers="abstain"):
        assert row.trajectory.cut
        assert (row.trajectory.answer, row.trajectory.correct, row.labels) == (None, False, None)
    voting = toss(coin_counter, candidates=8, rollouts=4)
    assert any(row.trajectory.correct for row in voting)
    assert all(row.trajectory.cut and row.cut_completions == 4 * (STEPS - 1) for row in voting)


def test_a_cut_completion_of_a_whole_candidate_is_not_right(
    coin_counter: LatentReasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(*arguments: Any) -> TrajectoryBatch:
        rows = read_trajectories(*arguments)
        return replace(rows, cut=np.zeros(len(rows), np.bool_))

    monkeypatch.setattr(annotation, "read_trajectories", whole)
    voting = toss(coin_counter, candidates=8, rollouts=4)
    abstaining = toss(coin_counter, candidates=8, rollouts=4, cut_answers="abstain")
    assert any((row.labels[:-1] > 0).any() for row in voting if row.labels is not None)
    for vote, abstain in zip(voting, abstaining, strict=True):
        assert vote.labels is not None
        assert abstain.labels is not None
        assert abstain.labels[-1] == vote.labels[-1] == vote.trajectory.correct
        assert (abstain.labels[:-1] == 0).all()
        assert abstain.cut_completions == vote.cut_completions == 4 * (STEPS - 1)
