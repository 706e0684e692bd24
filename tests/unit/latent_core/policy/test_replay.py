"""The learner has the latents that an actor has sampled, to the bit: in another batch, and in another process."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latent_core.engine.gradients import gradients
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.policy.learner import PolicyLearner
from latent_core.policy.replay import Replay, WrittenAnswers, reference_ids
from latent_core.policy.rollouts import rollout
from latent_core.policy.settings import PolicySettings
from latent_core.policy.trainable import load_weights
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

SEED = 11
SAMPLERS: dict[str, dict[str, Any]] = {
    "dropout": {"kind": "mc_dropout", "p": 0.2, "mask": "trajectory", "scope": ["boundary", "latent"]},
    "dropout everywhere": {
        "kind": "mc_dropout",
        "p": 0.1,
        "sites": ["feed_forward", "attention", "embedding", "attention_weights"],
        "scope": ["prompt", "latent", "answer"],
    },
    "gaussian": {"kind": "gaussian", "sigma": 0.3, "relative": True},
    "singular values": {"kind": "singular_value", "alpha": 0.3},
}


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SAMPLERS[request.param]


def replayed(
    reasoner: LatentReasoner, sampler: dict[str, Any], problems: list[Problem], samples: range, settings: PolicySettings
) -> NDArray[np.float32]:
    """Replay latents with gradients: [questions x samples, T, hidden size]."""
    nothing = WrittenAnswers(torch.zeros(0, 1, 1, dtype=torch.int64), torch.zeros(0, 1, dtype=torch.int64))
    engine = RolloutEngine(reasoner, parse_sampler(sampler))
    replay = Replay(engine, PromptBatch.of(reasoner, problems), samples, SEED, settings, nothing)
    with gradients():
        latents = replay.latents()
    order = [problems.index(problem) for problem in replay.prompt_batch.problems]
    grouped = latents.detach().numpy().reshape(len(problems), len(samples), *latents.shape[1:])
    return np.concatenate([grouped[place] for place in np.argsort(order)])


def sampled(
    reasoner: LatentReasoner, sampler: dict[str, Any], problems: list[Problem], samples: int
) -> dict[tuple[str, int], bytes]:
    rows = sample_trajectories(
        reasoner, parse_sampler(sampler), problems, range(samples), latent_steps=3, answer_tokens=2, seed=SEED
    )
    return {(row.question_id, row.sample_index): row.latents.tobytes() for row in rows if row.latents is not None}


def trained(
    reasoner: LatentReasoner, sampler: dict[str, Any], problems: list[Problem], settings: PolicySettings
) -> PolicyLearner:
    """Do an update that moves the weights."""
    made = parse_sampler(sampler)
    learner = PolicyLearner(
        reasoner, made, settings.model_copy(update={"learning_rate": 0.1, "objective": "supervised"}), 0
    )
    learner.update(problems, rollout(reasoner, made, problems, settings, SEED, 0))
    return learner


def test_latents_are_the_same_in_another_batch(
    reasoner: LatentReasoner,
    checkpoint: Path,
    sampler: dict[str, Any],
    problems: list[Problem],
    settings: PolicySettings,
) -> None:
    """After an update too: actors have loaded what the learner has come to."""
    learner = trained(reasoner, sampler, problems, settings)
    actor = LatentReasoner.from_pretrained(str(checkpoint), trainable=True)
    before = sampled(actor, sampler, problems, 5)
    load_weights(actor, learner.weights())
    whole = sampled(actor, sampler, problems, 5)
    assert whole != before
    for some, samples in ((problems[4:5], range(3, 4)), (problems[1:4], range(2)), (problems[::-1], range(1, 5))):
        rows = iter(replayed(reasoner, sampler, some, samples, settings))
        for problem in some:
            for sample in samples:
                assert next(rows).tobytes() == whole[problem.question_id, sample], (problem.question_id, sample)


def test_latents_are_the_same_in_another_process(
    checkpoint: Path, problems: list[Problem], settings: PolicySettings, tmp_path: Path
) -> None:
    some = [problems[5], problems[2]]
    asked = {
        "checkpoint": str(checkpoint),
        "settings": settings.model_dump(mode="json"),
        "problems": [[one.question_id, one.question, one.answer] for one in some],
        "seed": SEED,
        "folder": str(tmp_path),
        "samplers": SAMPLERS,
    }
    whole = {}
    for name, sampler in SAMPLERS.items():
        reasoner = LatentReasoner.from_pretrained(str(checkpoint), trainable=True)
        torch.save(trained(reasoner, sampler, problems, settings).weights(), tmp_path / f"{name}.pt")
        whole[name] = sampled(reasoner, sampler, problems, 4)
    subprocess.run([sys.executable, "-c", _REPLAY], input=json.dumps(asked), text=True, check=True, env={**os.environ})
    for name, rows in whole.items():
        latents = np.load(tmp_path / f"{name}.npy")
        for place, problem in enumerate(some):
            for sample in (1, 2):
                address = problem.question_id, sample
                assert latents[2 * place + sample - 1].tobytes() == rows[address], (name, address)


_REPLAY = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from latent_core.engine.gradients import gradients
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.policy.replay import Replay, WrittenAnswers
from latent_core.policy.settings import PolicySettings
from latent_core.policy.trainable import load_weights
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

torch.set_num_threads(1)
asked = json.load(sys.stdin)
folder = Path(asked["folder"])
reasoner = LatentReasoner.from_pretrained(asked["checkpoint"], trainable=True)
nothing = WrittenAnswers(torch.zeros(0, 1, 1, dtype=torch.int64), torch.zeros(0, 1, dtype=torch.int64))
for name, sampler in asked["samplers"].items():
    load_weights(reasoner, torch.load(folder / f"{name}.pt"))
    for parameter in reasoner.model.parameters():
        parameter.requires_grad_(True)
    rows = []
    for problem in asked["problems"]:
        replay = Replay(
            RolloutEngine(reasoner, parse_sampler(sampler)),
            PromptBatch.of(reasoner, [Problem(*problem)]),
            range(1, 3),
            asked["seed"],
            PolicySettings(**asked["settings"]),
            nothing,
        )
        with gradients():
            latents = replay.latents()
        assert latents.requires_grad
        rows.append(latents.detach().numpy())
    np.save(folder / f"{name}.npy", np.concatenate(rows))
"""


def test_log_probabilities_of_the_learner_are_those_of_the_rollouts(
    reasoner: LatentReasoner, sampler: dict[str, Any], problems: list[Problem], settings: PolicySettings
) -> None:
    made = parse_sampler(sampler)
    generator = np.random.default_rng(0)
    rows = rollout(reasoner, made, problems, settings, SEED, 0)
    # What a reasoner with random weights writes is seldom right: any rewards will do.
    rows = replace(rows, reward=generator.random(len(rows), dtype=np.float32))
    learner = PolicyLearner(reasoner, made, settings, 0)
    numbers = learner.update(problems, rows.take(generator.permutation(len(rows))))
    advantages = _leave_one_out(rows.reward.reshape(len(problems), -1))
    expected = -(advantages * rows.logprob.reshape(len(problems), -1)).mean()
    assert abs(expected) > 0.01
    assert numbers["loss"] == pytest.approx(expected, rel=1e-4)


def _leave_one_out(rewards: NDArray[np.float32]) -> NDArray[np.float64]:
    """Brute force: every reward less the mean of the others."""
    result = np.zeros(rewards.shape)
    for question, row in enumerate(rewards.astype(np.float64)):
        for place in range(len(row)):
            result[question, place] = row[place] - np.delete(row, place).mean()
    return result


def test_a_reference_is_written_as_the_checkpoint_writes(reasoner: LatentReasoner) -> None:
    ids = reference_ids(reasoner, Problem("a", "ann has 3 pens ?", "7"))
    assert ids[-1] == reasoner.end_of_text_id
    assert reasoner.checkpoint.format.extract_answer(reasoner.decode_text(ids)) == "7"
