"""Rollouts: what they hold, what they weigh, and that batches do not matter."""

import pickle

import numpy as np
import pytest
import torch

from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.policy.rewards import latent_scores, rewards_of
from latent_core.policy.rollouts import Rollout, RolloutBatch, rollout
from latent_core.policy.settings import PolicySettings
from latent_core.reward.model import LatentRewardModel
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.tasks.path_finding import path_finding
from latent_core.tasks.word_problems import word_problems

SAMPLER = parse_sampler({"kind": "mc_dropout", "p": 0.2, "mask": "trajectory"})


@pytest.fixture(scope="module")
def tiny() -> LatentReasoner:
    return LatentReasoner.from_pretrained("bundled:coconut-tiny", trainable=True)


@pytest.fixture(scope="module")
def paths() -> LatentReasoner:
    return LatentReasoner.from_pretrained("bundled:coconut-paths", trainable=True)


def by_address(rows: RolloutBatch) -> dict[tuple[str, int, int], Rollout]:
    return {(row.question_id, row.trajectory, row.answer): row for row in rows}


def test_rollouts_do_not_depend_on_their_batch(tiny: LatentReasoner) -> None:
    problems, settings = word_problems("train", 8).problems, PolicySettings(trajectories=3, answers=6, micro_batch=3)
    whole = by_address(rollout(tiny, SAMPLER, problems, settings, 2, 0))
    assert len(whole) == 8 * 18
    for some in (problems[6:7], problems[4:1:-1]):
        found = by_address(rollout(tiny, SAMPLER, some, settings.model_copy(update={"trajectories": 2}), 2, 0))
        for address, row in found.items():
            expected = whole[address]
            # The spread is of a whole group, and numbers that are only looked at are not the same to the bit.
            numbers = {"logprob": expected.logprob, "entropy": expected.entropy, "spread": expected.spread}
            assert row._replace(**numbers) == expected
            assert (row.logprob, row.entropy) == pytest.approx((expected.logprob, expected.entropy), abs=1e-5)


def test_rollouts_are_what_sampling_with_drawn_answers_gives(tiny: LatentReasoner) -> None:
    """The answers are those of branching behind the last latent, judged as `run` judges them."""
    problems, settings = word_problems("train", 4).problems, PolicySettings(trajectories=2, answers=8)
    rows = rollout(tiny, SAMPLER, problems, settings, 2, 5)
    drawn = parse_sampler({**SAMPLER.to_config(), "answer_temperature": 1.0})
    engine = RolloutEngine(tiny, drawn)
    for problem in problems:
        prompt = tiny.checkpoint.prompt_ids(problem.question)
        state = engine.start([prompt], [problem.question_id], 2, range(4))
        for _ in range(6):
            state = engine.step(state)
        answers = engine.decode(engine.branch(state, 8), 32, keep_confidence=True)
        assert answers.logprob is not None
        own = [row for row in rows if row.question_id == problem.question_id]
        for row in own:
            place = row.trajectory * 8 + row.answer
            ids = tuple(answers.token_ids[place, : answers.lengths[place]].tolist())
            assert row.answer_ids == ids
            assert row.logprob == pytest.approx(float(answers.logprob[place]), abs=1e-5)
            answer = problem.canonical(problem.extract(tiny.decode_text(ids), tiny.checkpoint.format.extract_answer))
            assert row.correct == problem.is_correct(answer)
            assert row.unparsable == (answer is None)
    assert {row.reward for row in rows} == {0.0, 1.0}
    assert {row.version for row in rows} == {5}
    assert (rows.spread > 0).all()
    assert (rows.entropy > 0).all()


def test_a_rollout_weighs_little(tiny: LatentReasoner) -> None:
    import pyarrow as pa

    rows = rollout(tiny, SAMPLER, word_problems("train", 48).problems, PolicySettings(), 0, 0)
    assert len(rows) == 48 * 64
    assert len(pickle.dumps(rows)) <= 200 * len(rows)
    columns = {name: column for name, column in vars(rows).items() if name != "answer_ids"}
    columns["answer_ids"] = [
        ids.tolist() for ids in map(rows.answer_ids.__getitem__, range(len(rows))) if ids is not None
    ]
    assert pa.table(columns).nbytes <= 200 * len(rows)


def test_rewards_are_shaped(paths: LatentReasoner) -> None:
    settings = PolicySettings(length_cost=0.5, shaping_weight=0.1)
    right, steps = np.array([True, False, True]), np.array([3, 6, 6])
    found = rewards_of(right, steps, 6, settings, np.array([1.0, -2.0, 0.0]))
    np.testing.assert_allclose(found, [1 - 0.25 + 0.1, -0.5 - 0.2, 1 - 0.5])
    problems = path_finding("train", 3).problems
    model = LatentRewardModel.from_pretrained("bundled:latent-rm-tiny")
    shaped = rollout(paths, SAMPLER, problems, PolicySettings(shaping_weight=1.0), 0, 0, reward_model=model)
    plain = rollout(paths, SAMPLER, problems, PolicySettings(), 0, 0)
    scores = (shaped.reward - plain.reward).reshape(3, 4, 16)
    np.testing.assert_allclose(scores, scores[:, :, :1].repeat(16, axis=2), atol=1e-5)
    assert len(np.unique(scores.round(4))) == 12


def test_scores_of_rewards_are_those_of_the_latent_reward_model(paths: LatentReasoner) -> None:
    from latent_core.engine.sampling import sample_trajectories
    from latent_core.reward.batch_scoring import score_groups
    from latent_core.reward.types import QuestionToScore

    model = LatentRewardModel.from_pretrained("bundled:latent-rm-tiny")
    problems = path_finding("train", 2).problems
    rows = sample_trajectories(paths, SAMPLER, problems, range(4), latent_steps=4, answer_tokens=4, seed=0)
    latents = [row.latents for row in rows]
    prompts = [paths.checkpoint.prompt_ids(problem.question) for problem in problems]
    asked = [QuestionToScore(problems[n].question, tuple(latents[4 * n : 4 * n + 4]), ((3, 4),) * 4) for n in range(2)]
    expected = [sum(score.step_scores) for score in score_groups(model, prompts, asked, False)]
    stacked = torch.from_numpy(np.stack(latents))
    found = latent_scores(model, prompts, stacked, torch.full((8,), 4))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rows_of_a_batch_are_records(
    reasoner: LatentReasoner, problems: list[Problem], settings: PolicySettings
) -> None:
    rows = rollout(reasoner, SAMPLER, problems, settings, 0, 0)
    first = rows[0]
    assert (first.question_id, first.trajectory, first.answer, first.seed) == ("q0", 0, 0, 0)
    assert all(isinstance(value, int | float | bool | str | tuple) for value in first)
    joined = RolloutBatch.concat([rows[:15], rows[15:]])
    assert list(joined) == list(rows)
