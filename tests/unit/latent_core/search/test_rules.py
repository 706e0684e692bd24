"""Searches that start later, and particles: against a loop that shares nothing, and what resampling has to keep."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import extend, read_prompts
from latent_core.samplers import parse_sampler
from latent_core.search.beam import BeamBatch
from latent_core.search.beam_search import search_latents
from latent_core.search.rules import BeamRule, ParticleRule, search_rule
from latent_core.tasks.base import Problem

STEPS, SEED = 4, 5
LENGTHS = {"latent_steps": STEPS, "answer_tokens": 3, "seed": SEED}
GAUSSIAN = parse_sampler({"kind": "gaussian", "sigma": 0.6, "relative": True})
DROPOUT = parse_sampler({"kind": "mc_dropout", "p": 0.3})
BOUNDARY = parse_sampler({"kind": "mc_dropout", "p": 0.3, "scope": ["boundary", "latent"]})
SAMPLERS = pytest.mark.parametrize("sampler", [GAUSSIAN, DROPOUT, BOUNDARY], ids=["gaussian", "mc_dropout", "boundary"])
RESAMPLING_SITE = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Row:
    """A row of a question, as the numbers of its draws: before the first step, and behind every step."""

    sample: int
    rollouts: tuple[int, ...] = (0,)

    def on(self, rollout: int | None = None) -> "Row":
        return replace(self, rollouts=(*self.rollouts, self.rollouts[-1] if rollout is None else rollout))


@dataclass(frozen=True)
class PlainSearch:
    """A search of one question that computes every row from the prompt on, again at every step."""

    engine: RolloutEngine
    reward_model: LatentRewardModel
    problem: Problem

    @torch.inference_mode()
    def rewards(self, rows: list[Row], steps: int) -> Tensor:
        """Return r_1 .. r_steps of rows, whose last feed is not needed."""
        prompt = self.engine.reasoner.checkpoint.prompt_ids(self.problem.question)
        # Rows of one sample have read the end of the prompt alike.
        samples = torch.tensor([row.sample for row in rows])
        state = self.engine.start([prompt], [self.problem.question_id], SEED, range(len(rows))).select(samples)
        scored, found = read_prompts(self.reward_model, [prompt]).branch(len(rows)), []

        def streams(step: int) -> Streams:
            rollouts = torch.tensor([row.rollouts[step] for row in rows])
            return Streams(state.streams.key, samples, rollouts)

        for step in range(1, steps + 1):
            latents = self.engine.propose(replace(state, streams=streams(step - 1)))
            scored, reward = extend(self.reward_model, scored, latents[:, None])
            found.append(reward)
            if step < steps:
                state = self.engine.feed(replace(state, streams=streams(step)), latents)
        return torch.cat(found, dim=1)

    def best_first(self, rows: list[Row]) -> Tensor:
        rewards = self.rewards(rows, STEPS)
        return rewards[rewards.sum(dim=1).argsort(descending=True, stable=True)]

    def beams(self, beams: int, branching: int, prune_from: int) -> Tensor:
        """Return the rewards of the beams, the best one first."""
        rows = [Row(sample) for sample in range(beams * branching)]
        for step in range(1, STEPS):
            if step < prune_from:
                rows = [row.on() for row in rows]
                continue
            totals = self.rewards(rows, step).sum(dim=1).tolist()
            kept = sorted(sorted(range(len(rows)), key=lambda index: -totals[index])[:beams])
            fresh = iter(range((step - 1) * beams * branching + 1, 10**6))
            numbered = [(rows[index], number, next(fresh)) for index in kept for number in range(branching)]
            rows = [row.on(None if number == 0 else draw) for row, number, draw in numbered]
        return self.best_first(rows)[:beams]

    def particles(self, particles: int, temperature: float, prune_from: int) -> tuple[Tensor, int]:
        """Return the rewards of the particles, the best one first, and how often they were resampled."""
        rows, logs, times = [Row(sample) for sample in range(particles)], [0.0] * particles, 0
        for step in range(1, STEPS):
            latest = self.rewards(rows, step)[:, -1].tolist()
            logs = [log + reward / temperature for log, reward in zip(logs, latest, strict=True)]
            weights = [math.exp(log - max(logs)) for log in logs]
            if step < prune_from or sum(weights) ** 2 / sum(weight**2 for weight in weights) >= particles / 2:
                rows = [row.on() for row in rows]
                continue
            uniform = float(
                Streams.for_questions(SEED, [self.problem.question_id]).uniform(step, RESAMPLING_SITE, 1)[0, 0]
            )
            drawn, total, parent = [], weights[0], 0
            for place in range(particles):
                while (place + uniform) / particles * sum(weights) >= total:
                    parent += 1
                    total += weights[parent]
                drawn.append(parent)
            firsts = [place == 0 or drawn[place - 1] != one for place, one in enumerate(drawn)]
            rows = [
                rows[one].on(None if first else (step - 1) * particles + 1 + place)
                for place, (one, first) in enumerate(zip(drawn, firsts, strict=True))
            ]
            logs, times = [0.0] * particles, times + 1
        return self.best_first(rows), times


def scores_of(found: BeamBatch, index: int, beams: int) -> np.ndarray:
    return np.stack([beam.step_scores for beam in found[beams * index : beams * (index + 1)]])


@SAMPLERS
@pytest.mark.parametrize(("beams", "branching", "prune_from"), [(2, 3, 3), (3, 2, 2), (1, 4, 4), (2, 3, 1)])
def test_a_search_that_starts_later_is_that_of_a_plain_loop_to_the_bit(
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    sampler: Any,
    beams: int,
    branching: int,
    prune_from: int,
) -> None:
    rule = BeamRule(beams, branching, prune_from)
    found = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems, rule, **LENGTHS)
    for index, problem in enumerate(problems):
        plain = PlainSearch(RolloutEngine(tiny_reasoner, sampler), tiny_reward_model, problem)
        expected = plain.beams(beams, branching, prune_from).numpy()
        np.testing.assert_array_equal(scores_of(found, index, beams), expected)


@SAMPLERS
@pytest.mark.parametrize("prune_from", [1, 3])
def test_particles_are_those_of_a_plain_loop_to_the_bit(
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    sampler: Any,
    prune_from: int,
) -> None:
    rule = ParticleRule(8, 0.5, prune_from)
    found = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems, rule, **LENGTHS)
    resampled = 0
    for index, problem in enumerate(problems):
        plain = PlainSearch(RolloutEngine(tiny_reasoner, sampler), tiny_reward_model, problem)
        expected, times = plain.particles(8, 0.5, prune_from)
        np.testing.assert_array_equal(scores_of(found, index, 8), expected.numpy())
        resampled += times
    assert resampled > 0


@SAMPLERS
@pytest.mark.parametrize("rule", [BeamRule(2, 3, 3), ParticleRule(6, 0.5)], ids=["beam", "smc"])
def test_neighbours_do_not_matter_to_the_bit(
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    sampler: Any,
    rule: BeamRule | ParticleRule,
) -> None:
    together = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems, rule, **LENGTHS)
    for index, problem in enumerate(problems):
        alone = search_latents(tiny_reasoner, tiny_reward_model, sampler, [problem], rule, **LENGTHS)
        own = together[index * rule.survivors : (index + 1) * rule.survivors]
        assert [one.trajectory.answer_ids for one in alone] == [one.trajectory.answer_ids for one in own]
        for one, other in zip(alone, own, strict=True):
            np.testing.assert_array_equal(one.trajectory.latents, other.trajectory.latents)
            np.testing.assert_array_equal(one.step_scores, other.step_scores)
            assert one.score_flops == other.score_flops


@SAMPLERS
@pytest.mark.parametrize("rule", [BeamRule(2, 3, STEPS), ParticleRule(6, 1e9)], ids=["beam", "smc"])
def test_where_nothing_is_dropped_the_rows_are_plain_samples(
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    sampler: Any,
    rule: BeamRule | ParticleRule,
) -> None:
    """Pruning at the last step is best-of-N, and particles of equal weights are never resampled."""
    found = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems, rule, **LENGTHS)
    samples = sample_trajectories(tiny_reasoner, sampler, problems, range(6), **LENGTHS)
    for index in range(len(problems)):
        known = {samples[6 * index + number].latents.tobytes() for number in range(6)}
        own = found[index * rule.survivors : (index + 1) * rule.survivors]
        assert len({one.trajectory.latents.tobytes() for one in own} & known) == rule.survivors


@pytest.mark.parametrize(
    ("sampler", "rule", "read", "fed"),
    [
        (GAUSSIAN, BeamRule(2, 3, 3), (6, 6, 6, 6), (6, 6, 2, 2)),
        # The first latent is the same for all; masks act when it is fed, and on every continuation.
        (DROPOUT, BeamRule(2, 3, 3), (1, 6, 6, 6), (6, 6, 6, 2)),
        (DROPOUT, BeamRule(2, 3, 1), (2, 6, 6, 6), (6, 6, 6, 2)),
        (GAUSSIAN, ParticleRule(6, 0.5), (6, 6, 6, 6), (6, 6, 6, 6)),
        (DROPOUT, ParticleRule(6, 0.5), (1, 6, 6, 6), (6, 6, 6, 6)),
    ],
    ids=["beam", "beam dropout", "beam dropout from 1", "smc", "smc dropout"],
)
def test_what_was_computed_is_counted(
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
    sampler: Any,
    rule: BeamRule | ParticleRule,
    read: tuple[int, ...],
    fed: tuple[int, ...],
) -> None:
    found = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems[:1], rule, **LENGTHS)
    prompt = len(tiny_reasoner.checkpoint.prompt_ids(problems[0].question))
    flops, scorer = tiny_reasoner.flops, tiny_reward_model.flops
    assert sum(one.score_flops for one in found) == pytest.approx(
        sum(rows * scorer.suffix(prompt + step, 1) for step, rows in enumerate(read))
    )
    writing = sum(flops.trajectory(prompt + STEPS, 0, 1, one.trajectory.answer_tokens) for one in found)
    assert sum(one.trajectory.flops for one in found) == pytest.approx(
        writing + sum(rows * flops.trajectory(prompt + step, 1, 0, 0) for step, rows in enumerate(fed))
    )


def test_a_perturbed_product_costs_what_it_costs_without_a_search(
    tiny_reasoner: LatentReasoner, tiny_reward_model: LatentRewardModel, problems: tuple[Problem, ...]
) -> None:
    sampler = parse_sampler({"kind": "singular_value", "alpha": 0.1, "scope": ["latent"]})
    [sample] = sample_trajectories(tiny_reasoner, sampler, problems[:1], range(1), **LENGTHS)
    [beam] = search_latents(tiny_reasoner, tiny_reward_model, sampler, problems[:1], BeamRule(1, 1), **LENGTHS)
    assert beam.trajectory.flops == pytest.approx(sample.flops)


def drawn(weights: list[float], questions: int, step: int = 2) -> np.ndarray:
    """Return how often each particle of every question is drawn, int [questions, particles]."""
    streams = Streams.for_questions(0, [f"q{index}" for index in range(questions)])
    rewards = torch.tensor(weights).log().repeat(questions, 1)[:, :, None]
    chosen = ParticleRule(len(weights), 1.0).start(streams, STEPS)(step, rewards)
    assert chosen is not None
    assert (chosen[:, 1:] >= chosen[:, :-1]).all()
    return np.stack([np.bincount(row, minlength=len(weights)) for row in chosen.numpy()])


def test_particles_are_drawn_in_proportion_to_their_weights() -> None:
    weights = [16.0, 5.0, 2.0, 1.0, 0.5, 0.25, 0.15, 0.1]
    times, expected = drawn(weights, 4000), 8 * np.array(weights) / sum(weights)
    assert ((times == np.floor(expected)) | (times == np.ceil(expected))).all()
    np.testing.assert_allclose(times.mean(axis=0), expected, atol=0.04)


@pytest.mark.parametrize("weights", [[1.0] * 8, [4.0] * 5 + [1e-9] * 3])
def test_particles_that_all_count_are_left_alone(weights: list[float]) -> None:
    assert (drawn(weights, 3) == 1).all()


def test_at_half_the_effective_sample_size_nothing_is_drawn_and_below_it_is() -> None:
    assert (drawn([1.0] * 4 + [0.0] * 4, 3) == 1).all()
    assert (drawn([1.0] * 3 + [0.0] * 5, 3)[:, 3:] == 0).all()


def test_what_is_not_a_number_is_not_drawn_and_all_of_it_changes_nothing() -> None:
    nan = float("nan")
    assert (drawn([1.0, nan, 1.0, 0.0, 0.0, 0.0, 0.0, nan], 3)[:, [1, 7]] == 0).all()
    assert (drawn([nan] * 4, 2) == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BeamRule(0, 1), "at least one beam"),
        (lambda: ParticleRule(0, 1.0), "needs a particle"),
        (lambda: ParticleRule(4, 0.0), "temperature above 0"),
        (lambda: ParticleRule(4, float("nan")), "temperature above 0"),
        (lambda: search_rule("beams", 2, 2, 1, None), "no search of kind 'beams'"),
        (lambda: search_rule("smc", 4, 2, 1, 1.0), "no search of kind 'smc' with 2 candidates"),
        (lambda: search_rule("smc", 4, 1, 1, None), "temperature None"),
    ],
)
def test_rules_that_are_none_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("prune_from", [0, STEPS + 1])
def test_pruning_has_to_start_at_a_latent_step(
    tiny_reasoner: LatentReasoner, tiny_reward_model: LatentRewardModel, problems: tuple[Problem, ...], prune_from: int
) -> None:
    with pytest.raises(ValueError, match=f"from one of the {STEPS} latent steps on, not from {prune_from}"):
        search_latents(tiny_reasoner, tiny_reward_model, GAUSSIAN, problems, BeamRule(2, 2, prune_from), **LENGTHS)
