"""Gaussian noise has the size that was asked for, in the units that were asked for."""

from dataclasses import replace

import pytest
import torch

from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler

WIDTH = 256


def streams(rows: int) -> Streams:
    one = Streams.for_questions(0, ["a"]).take(torch.zeros(rows, dtype=torch.int64))
    return replace(one, sample=torch.arange(rows))


@pytest.mark.parametrize("sigma", [0.1, 0.6, 3.0])
def test_absolute_noise_has_that_deviation(sigma: float) -> None:
    latent = torch.linspace(-5, 5, WIDTH).expand(1000, WIDTH)
    noise = parse_sampler({"kind": "gaussian", "sigma": sigma}).perturb_latent(latent, streams(1000), 1) - latent
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01 * sigma)
    assert noise.std().item() == pytest.approx(sigma, rel=0.01)
    # Every element is disturbed alike, whatever its own size.
    assert noise.std(dim=0).min().item() > 0.85 * sigma
    assert noise.std(dim=0).max().item() < 1.15 * sigma


def test_relative_noise_is_in_units_of_each_rows_own_rms() -> None:
    latent = torch.ones(3, 1, 1) * torch.tensor([0.1, 1.0, 20.0])[:, None, None] * torch.tensor([1.0, -1.0]).repeat(128)
    latent = latent.expand(3, 1000, WIDTH)
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.5, "relative": True})
    for row, rms in enumerate((0.1, 1.0, 20.0)):
        noise = sampler.perturb_latent(latent[row], streams(1000), 1) - latent[row]
        assert noise.std().item() == pytest.approx(0.5 * rms, rel=0.01)


def test_steps_have_noise_of_their_own() -> None:
    sampler, latent = parse_sampler({"kind": "gaussian", "sigma": 1.0}), torch.zeros(100, WIDTH)
    first, second = (sampler.perturb_latent(latent, streams(100), step) for step in (1, 2))
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(correlation.item()) < 0.03


@pytest.mark.parametrize("relative", [False, True])
def test_without_sigma_nothing_changes(relative: bool) -> None:
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.0, "relative": relative})
    latent = torch.randn(4, WIDTH)
    assert sampler.deterministic
    assert torch.equal(sampler.perturb_latent(latent, streams(4), 1), latent)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_precision_of_the_model_is_kept(dtype: torch.dtype) -> None:
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.5, "relative": True})
    noisy = sampler.perturb_latent(torch.ones(4, WIDTH, dtype=dtype), streams(4), 1)
    assert noisy.dtype == dtype
    assert torch.isfinite(noisy).all()


def test_it_is_not_deterministic_and_shares_prompts() -> None:
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.1})
    assert not sampler.deterministic
    assert not sampler.perturbs_prompt
