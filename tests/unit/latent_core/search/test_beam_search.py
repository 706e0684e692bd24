"""Beam search: against a search that recomputes everything, and where it has to agree with plain sampling."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification

from benchmarks.plain_loop import PlainLoop
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates
from latent_core.samplers import parse_sampler
from latent_core.search.beam import BeamBatch
from latent_core.search.beam_search import beam_search
from latent_core.tasks.base import Problem

STEPS, TOKENS = 4, 3
LENGTHS = {"latent_steps": STEPS, "answer_tokens": TOKENS}
GAUSSIAN = parse_sampler({"kind": "gaussian", "sigma": 0.6, "relative": True})
DROPOUT = parse_sampler({"kind": "mc_dropout", "p": 0.3})
BOUNDARY = parse_sampler({"kind": "mc_dropout", "p": 0.3, "scope": ["boundary", "latent"]})
SAMPLERS = pytest.mark.parametrize("sampler", [GAUSSIAN, DROPOUT, BOUNDARY], ids=["gaussian", "mc_dropout", "boundary"])


@pytest.fixture(scope="module")
def reward_model(tiny_reasoner: LatentReasoner) -> LatentRewardModel:
    model = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, seed=1).eval().requires_grad_(False)
    # A new head says little: rewards have to tell steps apart.
    model.model.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def search(
    reasoner: LatentReasoner, model: LatentRewardModel, sampler: Any, problems: Any, beams: int, branching: int
) -> BeamBatch:
    return beam_search(reasoner, model, sampler, problems, beams, branching, seed=5, **LENGTHS)


@pytest.mark.parametrize(("beams", "branching"), [(1, 4), (2, 3), (3, 2), (4, 1)])
def test_equals_a_search_that_shares_nothing(
    tiny_reasoner: LatentReasoner,
    reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    tmp_path: Path,
    beams: int,
    branching: int,
) -> None:
    reward_model.save(tiny_reasoner.checkpoint, tmp_path, RewardCard())
    plain = PlainSearch(tiny_reasoner, tmp_path)
    found = search(tiny_reasoner, reward_model, GAUSSIAN, problems, beams, branching)
    for index, problem in enumerate(problems):
        for rank, (latents, rewards) in enumerate(plain.run(problem, beams, branching)):
            beam = found[index * beams + rank]
            assert beam.trajectory.sample_index == rank
            torch.testing.assert_close(torch.tensor(beam.trajectory.latents), latents, atol=1e-3, rtol=1e-4)
            np.testing.assert_allclose(beam.step_scores, rewards, atol=1e-3)


class PlainSearch:
    """Reads prompt and past again for every continuation, with the attention of the library."""

    def __init__(self, reasoner: LatentReasoner, reward_directory: Path) -> None:
        self.loop = PlainLoop(reasoner.checkpoint)
        self.scorer = AutoModelForTokenClassification.from_pretrained(reward_directory, num_labels=1).eval()

    @torch.inference_mode()
    def run(self, problem: Problem, beams: int, branching: int) -> list[tuple[Tensor, list[float]]]:
        rows: list[tuple[Tensor, list[float], int, int]] = []
        rows = [(torch.zeros(0, 32), [], sample, 0) for sample in range(beams * branching)]
        for step in range(1, STEPS + 1):
            grown = [self._grow(problem, row, step) for row in rows]
            best = sorted(range(len(grown)), key=lambda index: -sum(grown[index][1]))[:beams]
            kept = [grown[index] for index in sorted(best)]
            branches = branching if step < STEPS else 1
            rows = [
                (latents, rewards, sample, rollout if c == 0 else 1 + ((step - 1) * beams + b) * branches + c)
                for b, (latents, rewards, sample, rollout) in enumerate(kept)
                for c in range(branches)
            ]
        return sorted(((latents, rewards) for latents, rewards, _, _ in rows), key=lambda row: -sum(row[1]))

    def _grow(self, problem: Problem, row: tuple[Tensor, list[float], int, int], step: int) -> Any:
        latents, rewards, sample, rollout = row
        prompt = self.loop.checkpoint.prompt_ids(problem.question)
        key = Streams.for_questions(5, [problem.question_id]).key
        streams = Streams(key, torch.tensor([sample]), torch.tensor([rollout]))
        grown, _ = self.loop.roll_out(prompt, latents[None], streams, GAUSSIAN, step, 0)
        embedded = self.scorer.get_input_embeddings()(torch.tensor([prompt]))
        logits = self.scorer(inputs_embeds=torch.cat([embedded, grown], dim=1)).logits
        return grown[0], [*rewards, float(logits[0, -1, 0])], sample, rollout


@SAMPLERS
def test_one_candidate_is_the_best_of_plain_samples(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...], sampler: Any
) -> None:
    samples = sample_trajectories(tiny_reasoner, sampler, problems, range(4), seed=5, **LENGTHS)
    found = search(tiny_reasoner, reward_model, sampler, problems, 4, 1)
    for index, problem in enumerate(problems):
        own, beams = samples[4 * index : 4 * index + 4], found[4 * index : 4 * index + 4]
        prompt = tiny_reasoner.checkpoint.prompt_ids(problem.question)
        latents = torch.stack([torch.tensor(one.latents) for one in own])
        with torch.inference_mode():
            scores = score_candidates(reward_model, [prompt], CandidateBatch(latents, torch.full((4,), STEPS))).score
        order = scores.argsort(descending=True).tolist()
        assert [beam.trajectory.answer_text for beam in beams] == [own[rank].answer_text for rank in order]
        np.testing.assert_allclose([beam.score for beam in beams], scores[order], atol=1e-4)


@SAMPLERS
def test_one_beam_with_one_candidate_is_a_single_sample(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...], sampler: Any
) -> None:
    samples = sample_trajectories(tiny_reasoner, sampler, problems, range(1), seed=5, **LENGTHS)
    found = search(tiny_reasoner, reward_model, sampler, problems, 1, 1)
    for sample, beam in zip(samples, found, strict=True):
        np.testing.assert_allclose(beam.trajectory.latents, sample.latents, atol=1e-4)
        assert beam.trajectory.answer_text == sample.answer_text
        assert beam.trajectory.flops == pytest.approx(sample.flops)


@SAMPLERS
def test_rewards_read_step_by_step_are_those_of_the_whole_trajectory(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...], sampler: Any
) -> None:
    for beam, problem in zip(
        search(tiny_reasoner, reward_model, sampler, problems, 2, 3),
        np.repeat(np.arange(len(problems)), 2),
        strict=True,
    ):
        prompt = tiny_reasoner.checkpoint.prompt_ids(problems[problem].question)
        latents = torch.tensor(beam.trajectory.latents)[None]
        with torch.inference_mode():
            rewards = score_candidates(reward_model, [prompt], CandidateBatch(latents, torch.tensor([STEPS])))
        np.testing.assert_allclose(beam.step_scores, rewards.steps[0], atol=1e-4)


@SAMPLERS
def test_continuations_differ_and_more_of_them_score_higher(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...], sampler: Any
) -> None:
    narrow = search(tiny_reasoner, reward_model, sampler, problems, 2, 1)
    wide = search(tiny_reasoner, reward_model, sampler, problems, 2, 8)
    means = [np.mean([beam.score for beam in beams]) for beams in (narrow, wide)]
    assert means[1] > means[0]
    for index in range(len(problems)):
        one, other = (beam.trajectory.latents for beam in wide[2 * index : 2 * index + 2])
        assert not np.array_equal(one, other)


@SAMPLERS
def test_neighbours_do_not_matter(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...], sampler: Any
) -> None:
    together = search(tiny_reasoner, reward_model, sampler, problems, 2, 2)
    for index, problem in enumerate(problems):
        alone = search(tiny_reasoner, reward_model, sampler, [problem], 2, 2)
        for one, other in zip(alone, together[2 * index : 2 * index + 2], strict=True):
            np.testing.assert_allclose(one.trajectory.latents, other.trajectory.latents, atol=1e-4)


def test_the_cost_counts_what_was_pruned(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...]
) -> None:
    def scoring(beams: int, branching: int) -> float:
        found = search(tiny_reasoner, reward_model, GAUSSIAN, problems[:1], beams, branching)
        return sum(beam.score_flops for beam in found)

    assert scoring(4, 4) == pytest.approx(16 * scoring(1, 1))
    # Noise is drawn after the forward pass, so only the beams are fed; masks are drawn inside, for every continuation,
    # and so is the end of the prompt where they act on it.
    for sampler, times in ((GAUSSIAN, 1.0), (DROPOUT, 4.0), (BOUNDARY, 4.0)):
        one, many = (
            search(tiny_reasoner, reward_model, sampler, problems[:1], 1, branching)[0] for branching in (1, 4)
        )
        prompt = len(tiny_reasoner.checkpoint.prompt_ids(problems[0].question))
        flops = tiny_reasoner.flops
        last = flops.trajectory(prompt + STEPS - 1, 1, 0, 0)
        # Writing the answer and the last step are the beams' alone.
        thinking = [
            beam.trajectory.flops - flops.trajectory(prompt + STEPS, 0, 1, beam.trajectory.answer_tokens) - last
            for beam in (one, many)
        ]
        assert thinking[1] == pytest.approx(times * thinking[0])


@pytest.mark.parametrize(("beams", "branching"), [(0, 1), (1, 0)])
def test_no_beams_are_refused(
    tiny_reasoner: LatentReasoner,
    reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    beams: int,
    branching: int,
) -> None:
    with pytest.raises(ValueError, match="at least one beam and one candidate"):
        search(tiny_reasoner, reward_model, GAUSSIAN, problems, beams, branching)


def test_a_sampler_that_perturbs_the_prompt_is_refused(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel, problems: tuple[Problem, ...]
) -> None:
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.1, "scope": ["prompt"]})
    with pytest.raises(ValueError, match="shares the prompt"):
        search(tiny_reasoner, reward_model, sampler, problems, 1, 1)


def test_beams_know_whether_their_answers_were_cut(
    tiny_reasoner: LatentReasoner, reward_model: LatentRewardModel
) -> None:
    problems = [Problem(f"q{index}", f"ann has {index} pens ?", "1") for index in range(3)]
    found = search(tiny_reasoner, reward_model, GAUSSIAN, problems, 2, 2)
    ends = tiny_reasoner.checkpoint.answer_ends
    for beam in found:
        row = beam.trajectory
        full = row.answer_tokens == LENGTHS["answer_tokens"]
        assert row.cut == (full and row.answer_ids[-1] not in ends)
    assert any(beam.trajectory.cut for beam in found)
