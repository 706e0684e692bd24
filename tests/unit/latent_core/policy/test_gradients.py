"""Gradients of every objective against finite differences, on a model of two layers in double precision."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latent_core.engine.gradients import gradients
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.policy.objectives import OBJECTIVES
from latent_core.policy.replay import Replay, WrittenAnswers
from latent_core.policy.settings import PolicySettings
from latent_core.policy.surrogate import Surrogate
from latent_core.policy.trainable import TrainableWeights
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

GAUSSIAN = {"kind": "gaussian", "sigma": 0.3}
DROPOUT = {"kind": "mc_dropout", "p": 0.2, "scope": ["boundary", "latent"], "mask": "trajectory"}
SINGULAR = {"kind": "singular_value", "alpha": 0.3}
STEP = 1e-5


@pytest.fixture
def exact(checkpoint: Path) -> LatentReasoner:
    return LatentReasoner.from_pretrained(str(checkpoint), dtype=torch.float64, trainable=True)


def replay_of(
    reasoner: LatentReasoner, sampler: dict[str, Any], problems: list[Problem], settings: PolicySettings
) -> tuple[Replay, Tensor]:
    """Return a replay with answers of one to three tokens that nobody has sampled, and advantages."""
    generator = torch.Generator().manual_seed(1)
    rows = len(problems) * settings.trajectories
    ids = torch.randint(1, 20, (rows, settings.answers, 3), generator=generator)
    lengths = torch.randint(1, 4, (rows, settings.answers), generator=generator)
    engine = RolloutEngine(reasoner, parse_sampler(sampler))
    batch = PromptBatch.of(reasoner, problems)
    replay = Replay(engine, batch, range(settings.trajectories), 7, settings, WrittenAnswers(ids, lengths))
    n = settings.answers if OBJECTIVES[settings.objective].uses_rewards else 1
    return replay, torch.randn(rows, n, generator=generator, dtype=torch.float64)


def check(weights: TrainableWeights, loss: Callable[[], Tensor]) -> None:
    """Compare the gradient along random directions with central differences."""
    with gradients():
        value = loss()
        found = weights.gradients_of(value)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = {name: torch.randn(one.shape, generator=generator, dtype=one.dtype) for name, one in found.items()}
        length = torch.cat([one.flatten() for one in direction.values()]).norm()
        direction = {name: one / length for name, one in direction.items()}
        along = sum(float((found[name] * one).sum()) for name, one in direction.items())
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for name, one in direction.items():
                    weights.parameters[name] += sign * STEP * one
            ends.append(float(loss()))
            with torch.no_grad():
                for name, one in direction.items():
                    weights.parameters[name] -= sign * STEP * one
        assert abs(along) > 1e-2
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(along, rel=1e-5)


@pytest.mark.parametrize("sampler", [GAUSSIAN, DROPOUT, SINGULAR], ids=["gaussian", "dropout", "singular values"])
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_objectives(
    exact: LatentReasoner, problems: list[Problem], settings: PolicySettings, objective: str, sampler: dict[str, Any]
) -> None:
    """Factors of singular values, like draws, and latents in a likelihood are numbers: they stay while weights move."""
    settings = settings.model_copy(update={"objective": objective})
    weights = TrainableWeights(exact, settings, 0)
    replay, advantages = replay_of(exact, sampler, problems[:3], settings)

    def loss() -> Tensor:
        return Surrogate(settings).loss(OBJECTIVES[objective].log_likelihood(replay), advantages, None, None)

    check(weights, loss)


@pytest.mark.parametrize("trainable", ["value_projections", "lora"])
def test_other_weights(
    exact: LatentReasoner, problems: list[Problem], settings: PolicySettings, trainable: str
) -> None:
    settings = settings.model_copy(update={"trainable": trainable})
    weights = TrainableWeights(exact, settings, 0)
    with torch.no_grad():
        for name, parameter in weights.parameters.items():
            if name.endswith("lora_B"):
                # As nothing, the second factor would hide the gradient of the first.
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    replay, advantages = replay_of(exact, DROPOUT, problems[:3], settings)
    mask = {name: one.clone() for name, one in getattr(weights, "_masks").items()}  # noqa: B009

    def loss() -> Tensor:
        return Surrogate(settings).loss(OBJECTIVES["answer"].log_likelihood(replay), advantages, None, None)

    if not mask:
        check(weights, loss)
        return
    with gradients():
        found = weights.gradients_of(loss())
    assert len(found) == 2
    for name, gradient in found.items():
        query, key, value = gradient.chunk(3, dim=1)
        assert not query.any()
        assert not key.any()
        direction = torch.zeros_like(gradient)
        direction.chunk(3, dim=1)[2].copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(4)))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weights.parameters[name] += sign * STEP * direction
                ends.append(float(loss()))
                weights.parameters[name] -= sign * STEP * direction
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


def test_the_size_of_relative_noise_has_no_gradient(
    exact: LatentReasoner, problems: list[Problem], settings: PolicySettings
) -> None:
    """The gradient is that of noise of the same size which does not know the latent."""
    weights = TrainableWeights(exact, settings, 0)
    replay, advantages = replay_of(exact, {**GAUSSIAN, "relative": True}, problems[:1], settings)
    (stop,) = replay.replayed()
    quiet = replace(replay, engine=RolloutEngine(exact, parse_sampler({"kind": "none"})))
    seen: list[Tensor] = []

    class Fixed(type(replay.engine.sampler)):  # type: ignore[misc]
        def perturb_latent(self, latent: Tensor, streams: Any, step: int) -> Tensor:
            if len(seen) < step:
                seen.append((super().perturb_latent(latent, streams, step) - latent).detach())
            return latent + seen[step - 1]

    def gradient(sampler: Any) -> dict[str, Tensor]:
        one = replace(quiet, engine=RolloutEngine(exact, sampler))
        with gradients():
            said = OBJECTIVES["answer"].log_likelihood(one)
            return weights.gradients_of(Surrogate(settings).loss(said, advantages, None, None))

    expected = gradient(Fixed(sigma=0.3, relative=True))
    found = gradient(replay.engine.sampler)
    assert len(seen) == stop.state.latents.shape[1]
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one)


def test_ratios_and_divergence(settings: PolicySettings) -> None:
    generator = np.random.default_rng(0)
    advantages, behaviour, start = (torch.from_numpy(generator.normal(size=(4, 5))) for _ in range(3))
    likelihood = (behaviour + torch.from_numpy(generator.normal(size=(4, 5)))).requires_grad_(True)
    truncated = Surrogate(settings)
    (gradient,) = torch.autograd.grad(truncated.loss(likelihood, advantages, behaviour, None), [likelihood])
    ratio = (likelihood - behaviour).exp().detach()
    torch.testing.assert_close(gradient, -advantages * ratio.clamp(max=2.0))
    assert truncated.numbers(20)["ratio_clipped"] == pytest.approx(float((ratio > 2).double().mean()))

    clipped = Surrogate(settings.model_copy(update={"clip": 0.2}))
    (gradient,) = torch.autograd.grad(clipped.loss(likelihood, advantages, behaviour, None), [likelihood])
    followed = torch.where(advantages > 0, ratio < 1.2, (ratio > 0.8) & (ratio < 2.0))
    torch.testing.assert_close(gradient, torch.where(followed, -advantages * ratio, 0.0))

    near = Surrogate(settings.model_copy(update={"kl": 0.5}))
    total = near.loss(likelihood, torch.zeros_like(advantages), None, start)
    further = (start - likelihood).detach()
    assert float(total.detach()) == pytest.approx(0.5 * float((further.exp() - 1 - further).sum()))
    assert near.numbers(20)["kl"] == pytest.approx(float((further.exp() - 1 - further).mean()))
