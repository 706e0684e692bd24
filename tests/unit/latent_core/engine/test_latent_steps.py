"""Latent steps of fixed and of adaptive number: every row stops where a plain loop over that row alone would stop."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import save_adaptive_checkpoint

from latent_core.answers.grading import GRADERS, Grader
from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.samplers import Sampler, parse_sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import TrajectoryBatch

MOST, TOKENS, SEED, SAMPLES = 5, 6, 3, 8
NOISE = parse_sampler({"kind": "gaussian", "sigma": 0.5, "relative": True})
DROPOUT = parse_sampler({"kind": "mc_dropout", "p": 0.3, "scope": ["latent", "answer"]})


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> LatentReasoner:
    """A reasoner that stops early, late, and not at all."""
    return save_adaptive_checkpoint(tmp_path_factory.mktemp("adaptive"), lambda one: sample(one, NOISE))


QUESTIONS = ("ann has 12 pens .", "ben 5 cards ?", "eva has 7 cards . sells 2 cards . buys 9 pens ?", "ann 1 ?")
COIN = "walk_coin"
GRADERS.register(
    COIN,
    # Half of all answers are right, whatever they say: random weights then have questions of mixed outcomes.
    Grader(lambda text: text or None, lambda question, reference, answer: zlib.crc32(answer.encode()) % 2 == 0),
)
PROBLEMS = tuple(Problem(f"question-{index}", text, "7") for index, text in enumerate(QUESTIONS))


def sample(reasoner: LatentReasoner, sampler: Sampler, problems: tuple[Problem, ...] = PROBLEMS) -> TrajectoryBatch:
    samples = range(SAMPLES)
    return sample_trajectories(reasoner, sampler, problems, samples, latent_steps=MOST, answer_tokens=TOKENS, seed=SEED)


def plain(reasoner: LatentReasoner, sampler: Sampler, problem: Problem, sample: int) -> tuple[list[torch.Tensor], bool]:
    """Think step by step with one sample, in a batch of its neighbours only; returns latents and whether it stopped."""
    engine = RolloutEngine(reasoner, sampler)
    prompt = reasoner.checkpoint.prompt_ids(problem.question)
    state = engine.start([prompt], [problem.question_id], SEED, range(SAMPLES)).select(torch.tensor([sample] * 4))
    while True:
        predicted = int(reasoner.logits(state.hidden).argmax(dim=-1)[0])
        if predicted == reasoner.checkpoint.end_id:
            return list(state.latents[0]), True
        if state.latents.shape[1] == MOST:
            return list(state.latents[0]), False
        state = engine.step(state)


def test_the_fixture_says_something(adaptive: LatentReasoner) -> None:
    lengths = {row.latent_steps for row in sample(adaptive, NOISE)}
    assert len(lengths) > 3
    assert MOST in lengths


@pytest.mark.parametrize("sampler", [NOISE, DROPOUT], ids=["noise", "dropout"])
def test_rows_stop_where_they_would_alone(adaptive: LatentReasoner, sampler: Sampler) -> None:
    rows = iter(sample(adaptive, sampler))
    for problem in PROBLEMS:
        for number in range(SAMPLES):
            row = next(rows)
            latents, _ = plain(adaptive, sampler, problem, number)
            assert (row.question_id, row.sample_index) == (problem.question_id, number)
            assert row.latent_steps == len(latents)
            assert row.latents is not None
            expected = torch.stack(latents).numpy() if latents else np.zeros((0, 32), np.float32)
            np.testing.assert_array_equal(row.latents, expected)


def test_every_row_comes_out_once(adaptive: LatentReasoner) -> None:
    engine = RolloutEngine(adaptive, NOISE)
    prompts = [adaptive.checkpoint.prompt_ids(problem.question) for problem in PROBLEMS]
    start = ActiveRows.of(engine.start(prompts, [one.question_id for one in PROBLEMS], SEED, range(SAMPLES)))
    seen: list[int] = []
    steps: list[int] = []
    for stop in run_latent_steps(engine, start, MOST):
        seen += stop.origin[stop.counts].tolist()
        steps.append(stop.state.latents.shape[1])
        assert stop.truncated == (not bool(engine.wants_to_stop(stop.state)[stop.counts].all()))
    assert sorted(seen) == list(range(len(PROBLEMS) * SAMPLES))
    assert steps == sorted(steps)


@pytest.mark.parametrize("sampler", [NOISE, DROPOUT], ids=["noise", "dropout"])
def test_rows_do_not_depend_on_their_neighbours(adaptive: LatentReasoner, sampler: Sampler) -> None:
    """Not in a single bit: neither on other questions, nor on other samples, nor on when these stop."""
    together = sample(adaptive, sampler)
    apart = [row for problem in PROBLEMS for row in sample(adaptive, sampler, (problem,))]
    for one, other in zip(together, apart, strict=True):
        assert (one.answer_ids, one.flops, one.latent_steps) == (other.answer_ids, other.flops, other.latent_steps)
        assert one.latents is not None
        assert other.latents is not None
        assert one.latents.tobytes() == other.latents.tobytes()


def test_what_a_row_costs_grows_with_its_steps(adaptive: LatentReasoner) -> None:
    for row in sample(adaptive, NOISE):
        prompt = len(adaptive.checkpoint.prompt_ids(PROBLEMS[int(row.question_id[-1])].question))
        stopped = plain(adaptive, NOISE, PROBLEMS[int(row.question_id[-1])], row.sample_index)[1]
        assert row.flops == adaptive.flops.trajectory(prompt, row.latent_steps, int(stopped), row.answer_tokens)


def test_a_fixed_length_yields_all_rows_at_once(tiny_reasoner: LatentReasoner) -> None:
    engine = RolloutEngine(tiny_reasoner, NOISE)
    start = engine.start([tiny_reasoner.checkpoint.prompt_ids(QUESTIONS[0])], ["q"], SEED, range(SAMPLES))
    seen: list[int] = []
    [stop] = run_latent_steps(engine, ActiveRows.of(start), 3, lambda here: seen.append(here.state.latents.shape[1]))
    assert seen == [1, 2, 3]
    assert stop.counts.all()
    assert not stop.truncated
    assert stop.origin.tolist() == list(range(SAMPLES))


def test_labels_are_shares_of_completions_that_stop_by_themselves(adaptive: LatentReasoner) -> None:
    """Against a plain loop over every candidate, step and completion."""
    rollouts = 6
    problems = tuple(replace(one, grader=COIN) for one in PROBLEMS)
    labelled = annotate(
        adaptive,
        NOISE,
        problems,
        SAMPLES,
        rollouts,
        latent_steps=MOST,
        answer_tokens=TOKENS,
        seed=SEED,
        cut_answers="vote",
    )
    mixed = [row for row in labelled if row.labels is not None]
    assert mixed
    engine = RolloutEngine(adaptive, NOISE)
    checked = 0
    for row in mixed:
        problem = problems[int(row.trajectory.question_id[-1])]
        assert row.labels is not None
        assert len(row.labels) == row.trajectory.latent_steps
        if len(row.labels):
            assert row.labels[-1] == row.trajectory.correct
        prompt = adaptive.checkpoint.prompt_ids(problem.question)
        state = engine.start([prompt], [problem.question_id], SEED, range(SAMPLES))
        state = state.select(torch.tensor([row.trajectory.sample_index] * 4))
        for step in range(1, row.trajectory.latent_steps):
            state = engine.step(state)
            right = 0
            for rollout in range(rollouts):
                one = state.select(torch.tensor([0])).branch(4, first=(step - 1) * rollouts + rollout)
                [trajectory] = [
                    adaptive.checkpoint.format.extract_answer(adaptive.decode_text(ids))
                    for ids in completion(engine, one)
                ]
                right += problem.is_correct(problem.canonical(trajectory))
            assert row.labels[step - 1] == pytest.approx(right / rollouts)
            checked += 1
    assert checked > 5


def completion(engine: RolloutEngine, state: object) -> list[list[int]]:
    """Go on with the first row until it stops; returns its answer's ids."""
    start = ActiveRows.of(state)  # type: ignore[arg-type]
    for stop in run_latent_steps(engine, start, MOST):
        rows = [row for row in stop.counts.nonzero().flatten().tolist() if int(stop.origin[row]) == 0]
        if rows:
            answers = engine.decode(stop.state, TOKENS, truncated=stop.truncated)
            return [answers.token_ids[rows[0], : int(answers.lengths[rows[0]])].tolist()]
    raise AssertionError("the first row never stopped")
