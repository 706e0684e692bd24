"""The masks themselves: where, when and how often they are drawn."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import ModulePerturbation, Phase, Sampler, Site

ROWS, WIDTH, HEADS = 6, 512, 4


def streams(rows: int = ROWS) -> Streams:
    one = Streams.for_questions(0, ["a"]).take(torch.zeros(rows, dtype=torch.int64))
    return replace(one, sample=torch.arange(rows))


def dropout(p: float = 0.5, **settings: Any) -> Sampler:
    everything = {"sites": [*Site], "scope": ["prompt", "latent", "answer"], **settings}
    return parse_sampler({"kind": "mc_dropout", "p": p, **everything})


def perturbation(sampler: Sampler, phase: Phase, step: int, rows: int = ROWS) -> ModulePerturbation:
    found = sampler.perturbation(phase, streams(rows), step)
    assert found is not None
    return found


def mask(sampler: Sampler, phase: Phase, step: int, site: Site = Site.FEED_FORWARD, layer: int = 0) -> Tensor:
    """The mask of one position, [rows, width]."""
    return perturbation(sampler, phase, step).on_output(site, layer, torch.ones(ROWS, 1, WIDTH))[:, 0]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_dropped_or_scaled_up(p: float) -> None:
    output = torch.randn(64, 8, WIDTH, generator=torch.Generator().manual_seed(0))
    dropped = perturbation(dropout(p), Phase.LATENT, 1, rows=64).on_output(Site.ATTENTION, 1, output)
    gone = dropped == 0
    assert gone.double().mean().item() == pytest.approx(p, abs=0.005)
    torch.testing.assert_close(dropped[~gone], output[~gone] / (1 - p), atol=1e-3, rtol=1e-3)


def test_every_step_site_layer_and_row_has_a_mask_of_its_own() -> None:
    sampler = dropout()
    masks = [
        mask(sampler, Phase.LATENT, 1),
        mask(sampler, Phase.LATENT, 2),
        mask(sampler, Phase.LATENT, 1, layer=1),
        mask(sampler, Phase.LATENT, 1, Site.ATTENTION),
        mask(sampler, Phase.LATENT, 1, Site.EMBEDDING),
    ]
    rows = torch.cat(masks)
    for a, b in combinations(range(len(rows)), 2):
        agreement = (rows[a] == rows[b]).double().mean().item()
        assert 0.35 < agreement < 0.65, (a, b)


@pytest.mark.parametrize("site", [Site.FEED_FORWARD, Site.ATTENTION, Site.EMBEDDING])
def test_a_mask_per_trajectory_is_the_same_at_every_position(site: Site) -> None:
    sampler = dropout(mask="trajectory")
    first = mask(sampler, Phase.LATENT, 1, site)
    assert torch.equal(mask(sampler, Phase.LATENT, 2, site), first)
    assert torch.equal(mask(sampler, Phase.ANSWER, 9, site), first)
    prompt = perturbation(sampler, Phase.PROMPT, 0).on_output(site, 0, torch.ones(ROWS, 5, WIDTH))
    assert torch.equal(prompt, first[:, None].expand(ROWS, 5, WIDTH))
    assert not torch.equal(mask(sampler, Phase.LATENT, 1, site, layer=1), first)
    assert not torch.equal(first[0], first[1])


def test_a_mask_per_step_differs_between_the_positions_of_a_prompt() -> None:
    prompt = perturbation(dropout(), Phase.PROMPT, 0).on_output(Site.FEED_FORWARD, 0, torch.ones(ROWS, 5, WIDTH))
    for a, b in combinations(range(5), 2):
        assert not torch.equal(prompt[:, a], prompt[:, b])


def test_padding_behind_a_prompt_shifts_no_mask() -> None:
    sampler = dropout()
    short = perturbation(sampler, Phase.PROMPT, 0).on_output(Site.FEED_FORWARD, 0, torch.ones(ROWS, 3, WIDTH))
    long = perturbation(sampler, Phase.PROMPT, 0).on_output(Site.FEED_FORWARD, 0, torch.ones(ROWS, 7, WIDTH))
    assert torch.equal(long[:, :3], short)


def attention_mask(sampler: Sampler, phase: Phase, step: int, queries: Tensor, keys: Tensor) -> Tensor:
    weights = torch.ones(ROWS, HEADS, len(queries), len(keys))
    return perturbation(sampler, phase, step).on_attention_weights(
        0, weights, queries.expand(ROWS, -1), keys.expand(ROWS, -1)
    )


def test_attention_masks_of_a_prompt_follow_positions_not_padding() -> None:
    sampler, short, long = dropout(), torch.arange(5), torch.arange(8)
    one = attention_mask(sampler, Phase.PROMPT, 0, short, short)
    padded = attention_mask(sampler, Phase.PROMPT, 0, long, long)
    visible = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.equal(padded[:, :, :5, :5][..., visible], one[..., visible])
    # Each visible pair, head and row has a draw of its own: half of many coins.
    drawn = one[..., visible]
    assert (drawn > 0).double().mean().item() == pytest.approx(0.5, abs=0.1)
    flat = drawn.flatten(1)
    assert all(not torch.equal(flat[a], flat[b]) for a, b in combinations(range(ROWS), 2))
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert not torch.equal(one[:, :, 4, :4], one[:, :, 3, :4])


def test_attention_masks_behind_the_prompt_follow_the_key_positions() -> None:
    """Padding sits between prompt and suffix: what a key is called is its position, not its place in the tensor."""
    sampler, query = dropout(), torch.tensor([5])
    plain = attention_mask(sampler, Phase.LATENT, 3, query, torch.arange(6))
    padded = attention_mask(sampler, Phase.LATENT, 3, query, torch.tensor([0, 1, 2, 3, 4, 5, 6, 3, 4, 5]))
    assert torch.equal(padded[..., [0, 1, 2, 7, 8, 9]], plain)
    assert not torch.equal(attention_mask(sampler, Phase.LATENT, 4, query, torch.arange(6)), plain)


def test_one_attention_mask_per_trajectory_belongs_to_the_keys() -> None:
    sampler, keys = dropout(mask="trajectory"), torch.arange(6)
    first = attention_mask(sampler, Phase.LATENT, 1, torch.tensor([5]), keys)
    later = attention_mask(sampler, Phase.ANSWER, 7, torch.tensor([11]), torch.arange(12))
    assert torch.equal(later[..., :6], first)
    prompt = attention_mask(sampler, Phase.PROMPT, 0, torch.arange(6), keys)
    assert torch.equal(prompt, first.expand(-1, -1, 6, -1))


@pytest.mark.parametrize("scope", [["prompt"], ["latent"], ["answer"], ["latent", "answer"]])
def test_phases_out_of_scope_are_left_alone(scope: list[str]) -> None:
    sampler = dropout(scope=scope)
    for phase in Phase:
        assert (sampler.perturbation(phase, streams(), 1) is not None) == (phase in scope)
    assert sampler.perturbs_prompt == ("prompt" in scope)


@pytest.mark.parametrize("site", list(Site))
def test_only_the_named_sites_are_announced(site: Site) -> None:
    assert perturbation(dropout(sites=[site]), Phase.LATENT, 1).sites == {site}


def test_the_defaults_are_feed_forward_during_latent_steps() -> None:
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.2})
    assert perturbation(sampler, Phase.LATENT, 1).sites == {Site.FEED_FORWARD}
    assert sampler.perturbation(Phase.PROMPT, streams(), 0) is None
    assert sampler.perturbation(Phase.ANSWER, streams(), 8) is None


def test_nothing_is_dropped_at_zero() -> None:
    sampler = dropout(0.0)
    assert sampler.deterministic
    assert not sampler.perturbs_prompt
    assert all(sampler.perturbation(phase, streams(), 1) is None for phase in Phase)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_precision_of_the_model_is_kept(dtype: torch.dtype) -> None:
    out = perturbation(dropout(), Phase.LATENT, 1).on_output(Site.FEED_FORWARD, 0, torch.ones(ROWS, 1, 8, dtype=dtype))
    assert out.dtype == dtype
