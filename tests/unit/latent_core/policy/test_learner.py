"""A learner learns, can be stopped and resumed to the bit, and saves what it computes with."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import save_checkpoint_of

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.policy.checks import check_policy, check_questions
from latent_core.policy.learner import PolicyLearner
from latent_core.policy.rollouts import RolloutBatch, rollout
from latent_core.policy.settings import PolicySettings
from latent_core.policy.trainable import load_weights
from latent_core.samplers import parse_sampler
from latent_core.settings import explain_validation_error
from latent_core.tasks.base import Problem
from latent_core.tasks.word_problems import word_problems

DROPOUT = parse_sampler({"kind": "mc_dropout", "p": 0.2, "mask": "trajectory"})


def rewarded(reasoner: LatentReasoner, problems: list[Problem], settings: PolicySettings, seed: int) -> RolloutBatch:
    """Roll out, and reward at random: what a reasoner with random weights writes is seldom right."""
    rows = rollout(reasoner, DROPOUT, problems, settings, seed, 0)
    return replace(rows, reward=np.random.default_rng(seed).random(len(rows), dtype=np.float32))


def load(checkpoint: Path | str) -> LatentReasoner:
    return LatentReasoner.from_pretrained(str(checkpoint), trainable=True)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("trainable", ["all", "value_projections", "lora"])
def test_a_resumed_learner_goes_on_to_the_bit(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings, trainable: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"trainable": trainable, "learning_rate": 0.01})
    whole = PolicyLearner(load(checkpoint), DROPOUT, settings, 5)
    seen = []
    for update in range(4):
        if update == 2:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
        rows = rewarded(whole.reasoner, problems, settings, update)
        seen.append((rows, whole.update(problems, replace(rows, version=rows.version + update))))
    resumed = PolicyLearner(load(checkpoint), DROPOUT, settings, 5)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.version == 2
    for update in (2, 3):
        rows = rewarded(resumed.reasoner, problems, settings, update)
        assert pickle.dumps(rows.logprob) == pickle.dumps(seen[update][0].logprob)
        assert resumed.update(problems, replace(rows, version=rows.version + update)) == seen[update][1]
    assert same(resumed.weights(), whole.weights())
    actor = load(checkpoint)
    before = rollout(actor, DROPOUT, problems, settings, 9, 0)
    load_weights(actor, whole.weights())
    found, expected = (rollout(one, DROPOUT, problems, settings, 9, 0) for one in (actor, whole.reasoner))
    assert found.logprob.tobytes() == expected.logprob.tobytes() != before.logprob.tobytes()


def test_rewards_are_what_is_learnt(checkpoint: Path, problems: list[Problem], settings: PolicySettings) -> None:
    """Answers that begin with one of half the tokens earn something; after some updates they are written more often."""
    settings = settings.model_copy(update={"learning_rate": 3e-3, "warmup_updates": 0})
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)

    def rolled(seed: int) -> RolloutBatch:
        rows = rollout(learner.reasoner, DROPOUT, problems, settings, seed, learner.version)
        firsts = rows.answer_ids.packed().values[rows.answer_ids.packed().starts]
        return replace(rows, reward=(firsts % 2).astype(np.float32))

    before = rolled(100).reward.mean()
    for update in range(12):
        numbers = learner.update(problems, rolled(update))
        assert numbers["stale"] == 0
    assert rolled(100).reward.mean() > before + 0.15


def test_gradients_are_reduced_before_the_step(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings
) -> None:
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)
    start = learner.weights()

    def nothing(parameters: Any) -> None:
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.zero_()

    learner.update(problems, rewarded(learner.reasoner, problems, settings, 0), nothing)
    assert learner.version == 1
    assert same(learner.weights(), start)


def test_parts_of_an_update_add_up(checkpoint: Path, problems: list[Problem], settings: PolicySettings) -> None:
    numbers = []
    for size in (1, 6):
        learner = PolicyLearner(load(checkpoint), DROPOUT, settings.model_copy(update={"micro_batch": size}), 0)
        numbers.append(learner.update(problems, rewarded(learner.reasoner, problems, settings, 0)))
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def test_memory_that_runs_out_halves_the_micro_batch(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, plain = (PolicyLearner(load(checkpoint), DROPOUT, settings, 0) for _ in range(2))
    rows = rewarded(plain.reasoner, problems, settings, 0)
    expected = plain.update(problems, rows)
    likelihood = PolicyLearner._loss

    def small(self: PolicyLearner, replay: Any, part: Any, *others: Any) -> torch.Tensor:
        if len(part) > 1:
            raise torch.OutOfMemoryError("a device without room for two questions")
        return likelihood(self, replay, part, *others)

    monkeypatch.setattr(PolicyLearner, "_loss", small)
    assert learner.update(problems, rows) == pytest.approx(expected, rel=1e-4)


def test_without_signal_nothing_moves(checkpoint: Path, problems: list[Problem], settings: PolicySettings) -> None:
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)
    start, rows = learner.weights(), rewarded(learner.reasoner, problems, settings, 0)
    numbers = learner.update(problems, replace(rows, reward=np.ones_like(rows.reward)))
    assert numbers["no_signal"] == 1
    assert numbers["loss"] == numbers["grad_norm"] == 0
    assert same(learner.weights(), start)


def test_a_question_that_failed_is_left_out(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings
) -> None:
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)
    rows = rewarded(learner.reasoner, problems, settings, 0)
    reward = rows.reward.copy()
    reward[3] = np.nan
    numbers = learner.update(problems, replace(rows, reward=reward))
    assert numbers["failed"] == pytest.approx(1 / len(problems))
    assert all(np.isfinite(value) for value in numbers.values())


def test_stale_rollouts_have_ratios(checkpoint: Path, problems: list[Problem], settings: PolicySettings) -> None:
    settings = settings.model_copy(update={"learning_rate": 0.05})
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)
    old = rewarded(learner.reasoner, problems, settings, 0)
    assert "ratio" not in learner.update(problems, old)
    numbers = learner.update(problems, old)
    assert numbers["stale"] == 1
    assert numbers["ratio"] != 1
    with pytest.raises(ValueError, match="version 7"):
        learner.update(problems, replace(old, version=np.full_like(old.version, 7)))


@pytest.mark.parametrize("objective", ["answer", "both"])
@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_the_divergence_begins_at_nothing(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings, trainable: str, objective: str
) -> None:
    changes = {"kl": 0.1, "trainable": trainable, "objective": objective, "learning_rate": 0.05}
    settings = settings.model_copy(update=changes)
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings, 0)
    first, second = (
        learner.update(problems, replace(rewarded(learner.reasoner, problems, settings, n), version=np.full(90, n)))
        for n in range(2)
    )
    assert first["kl"] == pytest.approx(0, abs=1e-9)
    assert second["kl"] > 1e-4


def test_a_policy_is_saved_in_the_layout_of_its_start(tmp_path: Path) -> None:
    settings = PolicySettings(trajectories=2, answers=4, learning_rate=1e-3, warmup_updates=0)
    learner = PolicyLearner(load("bundled:coconut-tiny"), DROPOUT, settings, 0)
    problems = word_problems("train", 6).problems
    numbers = learner.update(problems, rollout(learner.reasoner, DROPOUT, problems, settings, 0, 0))
    assert numbers["grad_norm"] > 0
    learner.save(tmp_path / "policy")
    start, made = Checkpoint.open("bundled:coconut-tiny"), Checkpoint.open(str(tmp_path / "policy"))
    assert made.architecture == start.architecture
    assert {*made.weights.headers} == {*start.weights.headers}
    assert made.fingerprint != start.fingerprint
    found, expected = (
        rollout(one, DROPOUT, problems, settings, 1, 1).logprob.tobytes()
        for one in (load(tmp_path / "policy"), learner.reasoner)
    )
    assert found == expected


def test_conventions_come_along(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings, tmp_path: Path
) -> None:
    learner = PolicyLearner(load(checkpoint), DROPOUT, settings.model_copy(update={"trainable": "lora"}), 0)
    learner.update(problems, rewarded(learner.reasoner, problems, settings, 0))
    learner.save(tmp_path / "policy")
    assert (tmp_path / "policy" / "latent.json").read_bytes() == (checkpoint / "latent.json").read_bytes()
    found, expected = (
        rollout(one, DROPOUT, problems, settings, 1, 1).logprob.tobytes()
        for one in (load(tmp_path / "policy"), learner.reasoner)
    )
    assert found == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_reasoners_are_refused(tmp_path: Path, settings: PolicySettings, dtype: torch.dtype) -> None:
    source = save_checkpoint_of(tmp_path / "wide", "gpt2", {}, hidden_size=256, n_inner=256)
    reasoner = LatentReasoner.from_pretrained(str(source), dtype=dtype)
    with pytest.raises(UserError, match=r"can be neither trained nor replaced; load it with trainable=True$"):
        PolicyLearner(reasoner, DROPOUT, settings, 0)
    with pytest.raises(UserError, match="load it with trainable=True"):
        load_weights(reasoner, {})


def test_small_steps_are_not_lost_in_half_precision(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings
) -> None:
    reasoner = LatentReasoner.from_pretrained(str(checkpoint), dtype=torch.bfloat16, trainable=True)
    learner = PolicyLearner(reasoner, DROPOUT, settings.model_copy(update={"learning_rate": 1e-6}), 0)
    before = learner.state_dict()["parameters"]
    learner.update(problems, rewarded(reasoner, problems, settings, 0))
    after = learner.state_dict()["parameters"]
    assert all(one.dtype == torch.float32 for one in after.values())
    assert not same(before, after)
    assert all(one.dtype == torch.bfloat16 for one in learner.weights().values())


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        ({"kind": "none"}, "use one of gaussian, mc_dropout, singular_value"),
        ({"kind": "answer_sampling"}, "use one of gaussian, mc_dropout, singular_value"),
        ({"kind": "mc_dropout", "p": 0.0, "answer_temperature": 1.0}, "disturbs nothing"),
    ],
)
def test_samplers_without_randomness_are_refused(checkpoint: Path, sampler: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_policy(Checkpoint.open(str(checkpoint)), parse_sampler(sampler), PolicySettings())


def test_other_wrong_input(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="trajectories x answers is 1") as error:
        PolicySettings(trajectories=1, answers=1)
    assert "\n" not in explain_validation_error(error.value, PolicySettings, "policy")  # type: ignore[arg-type]
    assert PolicySettings(trajectories=1, answers=1, objective="supervised")
    with pytest.raises(UserError, match="did you mean 'answer'"):
        PolicySettings(objective="answers")
    with pytest.raises(UserError, match="no training questions"):
        check_questions((), "gsm8k")
    with pytest.raises(UserError, match="staleness 0"):
        check_policy(Checkpoint.open(str(checkpoint)), DROPOUT, PolicySettings(objective="both"), staleness=1)
