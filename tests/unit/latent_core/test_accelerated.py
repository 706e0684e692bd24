"""Beam search, annotation and scoring on a GPU, or in the static memory that rollouts there go through."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_core.engine.graph_cache import GraphCache
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.samplers import parse_sampler
from latent_core.search.beam_search import beam_search
from latent_core.tasks.base import Problem

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS: dict[str, Any] = {"latent_steps": 4, "answer_tokens": 5, "seed": 5}
GAUSSIAN, DROPOUT = {"kind": "gaussian", "sigma": 0.5}, {"kind": "mc_dropout", "p": 0.2}


@pytest.fixture
def accelerated(tiny_checkpoint: Path) -> LatentReasoner:
    """The tiny reasoner on the GPU, or at least with static memory."""
    reasoner = LatentReasoner.from_pretrained(str(tiny_checkpoint), device=DEVICE)
    RolloutRuntime.of(reasoner).graph_cache = GraphCache(frozenset({DEVICE}))
    return reasoner


@pytest.mark.parametrize("settings", [GAUSSIAN, DROPOUT], ids=str)
def test_beams_are_the_same(
    tiny_reasoner: LatentReasoner,
    accelerated: LatentReasoner,
    tiny_reward_checkpoint: Path,
    problems: tuple[Problem, ...],
    settings: dict[str, Any],
) -> None:
    expected, found = (
        beam_search(
            reasoner,
            LatentRewardModel.from_pretrained(str(tiny_reward_checkpoint), device=reasoner.device),
            parse_sampler(settings),
            problems,
            3,
            2,
            **LENGTHS,
        )
        for reasoner in (tiny_reasoner, accelerated)
    )
    assert RolloutRuntime.of(accelerated).graph_cache._runners
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.trajectory.latents, other.trajectory.latents, atol=1e-3)
        np.testing.assert_allclose(one.step_scores, other.step_scores, atol=1e-3)
        assert (one.trajectory.answer_ids, one.trajectory.flops) == (
            other.trajectory.answer_ids,
            other.trajectory.flops,
        )


@pytest.mark.parametrize("settings", [GAUSSIAN, DROPOUT], ids=str)
def test_labels_are_the_same(
    tiny_reasoner: LatentReasoner,
    accelerated: LatentReasoner,
    problems: tuple[Problem, ...],
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = parse_sampler(settings)
    # Random weights do not mark their answers. What the first sample says is right, and others now and then say it too.
    monkeypatch.setattr(type(tiny_reasoner.checkpoint.format), "extract_answer", lambda self, text: text)
    samples = sample_trajectories(tiny_reasoner, sampler, problems, range(6), **LENGTHS)
    asked = [
        replace(problem, answer=samples[6 * index].answer_text, grader="text") for index, problem in enumerate(problems)
    ]
    # Nor do they end them.
    label = partial(annotate, cut_answers="vote", **LENGTHS)
    expected, found = (label(reasoner, sampler, asked, 6, 3) for reasoner in (tiny_reasoner, accelerated))
    assert RolloutRuntime.of(accelerated).graph_cache._runners
    assert any(row.labels is not None for row in expected)
    assert [row.label_flops for row in expected] == [row.label_flops for row in found]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.trajectory.latents, other.trajectory.latents, atol=1e-3)
        assert (one.labels is None) == (other.labels is None)
        if one.labels is not None:
            np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_are_the_same(
    tiny_reasoner: LatentReasoner, tiny_reward_checkpoint: Path, problems: tuple[Problem, ...]
) -> None:
    rows = sample_trajectories(tiny_reasoner, parse_sampler(GAUSSIAN), problems, range(4), **LENGTHS)
    prompts = [tiny_reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    questions = [
        QuestionToScore(
            problem.question,
            tuple(row.latents for row in rows[4 * index : 4 * index + 4]),
            tuple(row.answer_ids for row in rows[4 * index : 4 * index + 4]),
        )
        for index, problem in enumerate(problems)
    ]
    expected, found = (
        score_groups(
            LatentRewardModel.from_pretrained(str(tiny_reward_checkpoint), device=device), prompts, questions, True
        )
        for device in ("cpu", "cuda")
    )
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.step_scores, other.step_scores, atol=1e-4)
        assert one.answer_reward == pytest.approx(other.answer_reward, abs=1e-4)
