"""Answer tokens are drawn from the tempered nucleus distribution, and from nothing else."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler

DRAWS = 40_000
LOGITS = torch.tensor([0.3, 2.0, -1.0, 1.2, 1.9, -4.0, 0.0])


def streams(rows: int) -> Streams:
    one = Streams.for_questions(0, ["a"]).take(torch.zeros(rows, dtype=torch.int64))
    return replace(one, sample=torch.arange(rows))


def nucleus(temperature: float, top_p: float) -> Tensor:
    """The distribution token by token: the fewest most probable tokens that reach top_p, renormalised."""
    probabilities = torch.softmax(LOGITS.double() / temperature, dim=0)
    kept, mass = torch.zeros_like(probabilities), 0.0
    for token in probabilities.argsort(descending=True).tolist():
        if mass >= top_p:
            break
        kept[token] = probabilities[token]
        mass += float(probabilities[token])
    return kept / kept.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.3, 0.6, 0.9, 1.0])
def test_frequencies_are_those_of_the_nucleus(temperature: float, top_p: float) -> None:
    sampler = parse_sampler({"kind": "answer_sampling", "temperature": temperature, "top_p": top_p})
    tokens = sampler.choose_token(LOGITS.expand(DRAWS, -1), streams(DRAWS), 3)
    expected = nucleus(temperature, top_p)
    frequencies = torch.bincount(tokens, minlength=len(LOGITS)).double() / DRAWS
    assert (frequencies[expected == 0] == 0).all()
    error = (expected * (1 - expected) / DRAWS).sqrt()
    assert ((frequencies - expected).abs() <= 4.5 * error).all()


@pytest.mark.parametrize("settings", [{"top_p": 1e-6}, {"temperature": 1e-4}, {"temperature": 1e-30}])
def test_both_ends_are_greedy(settings: dict[str, float]) -> None:
    logits = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    sampler = parse_sampler({"kind": "answer_sampling", **settings})
    assert torch.equal(sampler.choose_token(logits, streams(200), 1), logits.argmax(dim=-1))


def test_rows_use_their_own_logits() -> None:
    logits = torch.full((6, 5), -100.0)
    wanted = torch.tensor([4, 0, 2, 1, 3, 3])
    logits[torch.arange(6), wanted] = 0.0
    sampler = parse_sampler({"kind": "answer_sampling"})
    assert torch.equal(sampler.choose_token(logits, streams(6), 1), wanted)


def test_each_position_is_drawn_anew() -> None:
    sampler = parse_sampler({"kind": "answer_sampling"})
    flat = torch.zeros(1000, 10)
    first, second = (sampler.choose_token(flat, streams(1000), step) for step in (7, 8))
    assert (first == second).double().mean().item() == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_logits_are_fine(dtype: torch.dtype) -> None:
    logits = torch.zeros(5000, 50_000 // 100, dtype=dtype)
    tokens = parse_sampler({"kind": "answer_sampling"}).choose_token(logits, streams(5000), 1)
    assert tokens.dtype == torch.int64
    assert 0 <= int(tokens.min()) < 20
    assert 480 < int(tokens.max()) < 500


def test_latents_and_prompts_are_left_alone() -> None:
    sampler = parse_sampler({"kind": "answer_sampling", "temperature": 5.0})
    latent = torch.randn(3, 8)
    assert torch.equal(sampler.perturb_latent(latent, streams(3), 1), latent)
    assert not sampler.perturbs_prompt
    assert not sampler.deterministic
