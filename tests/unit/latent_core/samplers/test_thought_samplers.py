"""Draws of Gumbel noise, of Dirichlet weights, of several tokens and of a policy have the distributions they say."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_core.mixtures import Candidates, MixtureSettings
from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.samplers.dirichlet import log_gamma_draws
from latent_core.samplers.gumbel import GumbelNoise
from latent_core.samplers.multiplex import Multiplex

ROWS = 4000
PROBABILITIES = (0.5, 0.3, 0.15, 0.05)


def streams(rows: int = ROWS) -> Streams:
    one = Streams.for_questions(0, ["a"]).take(torch.zeros(rows, dtype=torch.int64))
    return replace(one, sample=torch.arange(rows))


def candidates(rows: int = ROWS, width: int = 4, *, before: bool = False) -> Candidates:
    row = torch.tensor(PROBABILITIES).log()
    return Candidates.of(row.expand(rows, -1), MixtureSettings(width=width, noise_before_width=before))


def test_gumbel_noise_draws_the_best_by_its_probability() -> None:
    """The Gumbel-max trick: the highest sum belongs to each token with its probability."""
    merged = GumbelNoise(scale=1.0).merge(candidates(), streams(), 1)
    shares = torch.bincount(merged.best, minlength=4) / ROWS
    torch.testing.assert_close(shares, torch.tensor(PROBABILITIES), atol=0.02, rtol=0)


def test_without_scale_the_weights_are_tempered() -> None:
    sampler = GumbelNoise(scale=0.0, temperature=0.5)
    assert sampler.deterministic
    squares = torch.tensor(PROBABILITIES) ** 2
    torch.testing.assert_close(sampler.merge(candidates(1), streams(1), 1).weights[0], squares / squares.sum())


@pytest.mark.parametrize("before", [False, True])
def test_noise_chooses_tokens_only_where_it_comes_first(before: bool) -> None:
    merged = GumbelNoise(scale=2.0).merge(candidates(width=2, before=before), streams(), 1)
    assert set(merged.ids.flatten().tolist()) == ({0, 1, 2, 3} if before else {0, 1})


def test_one_sided_noise_gives_the_same_mixture() -> None:
    settings = MixtureSettings(width=3, noise_before_width=True, noise_range=(-1.5, 3.0))
    asked = Candidates.of(torch.tensor(PROBABILITIES).log().expand(50, -1), settings)
    one, two = (GumbelNoise(one_sided=side).merge(asked, streams(50), 1) for side in (True, False))
    assert torch.equal(one.ids, two.ids)
    torch.testing.assert_close(one.weights, two.weights)


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "gaussian", "sigma": 0.5, "relative": False},
        {"kind": "mc_dropout", "p": 0.2, "sites": ["feed_forward"], "scope": ["latent"], "mask": "step"},
        {"kind": "singular_value", "alpha": 0.1, "projection": "attention_value", "scope": ["prompt", "latent"]},
    ],
)
def test_samplers_of_latents_can_draw_answers_too(config: dict[str, Any]) -> None:
    plain, drawing = parse_sampler(config), parse_sampler({**config, "answer_temperature": 0.8})
    # As it stands in the keys of stores that are older than the setting.
    assert plain.to_config() == config
    assert drawing.to_config() == {**config, "answer_temperature": 0.8}
    assert parse_sampler(drawing.to_config()) == drawing
    assert plain.is_greedy
    assert not drawing.is_greedy
    logits = torch.tensor(PROBABILITIES).log().expand(ROWS, -1)
    assert (plain.choose_token(logits, streams(), 7) == 0).all()
    expected = parse_sampler({"kind": "answer_sampling", "temperature": 0.8})
    assert torch.equal(drawing.choose_token(logits, streams(), 7), expected.choose_token(logits, streams(), 7))
    assert torch.equal(plain.perturb_latent(logits, streams(), 2), drawing.perturb_latent(logits, streams(), 2))


def test_without_strength_drawn_answers_still_differ() -> None:
    assert parse_sampler({"kind": "gaussian", "sigma": 0.0}).deterministic
    assert not parse_sampler({"kind": "gaussian", "sigma": 0.0, "answer_temperature": 1.0}).deterministic


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 30.0])
def test_gamma_draws_have_mean_and_variance_of_their_shape(shape: float) -> None:
    uniform = torch.rand(20_000, 25, generator=torch.Generator().manual_seed(0)).clamp(min=1e-7)
    drawn = log_gamma_draws(torch.full((20_000,), shape), uniform).double().exp()
    assert drawn.mean().item() == pytest.approx(shape, rel=0.1)
    assert drawn.var().item() == pytest.approx(shape, rel=0.2)


@pytest.mark.parametrize("alpha", [1.0, 20.0])
def test_dirichlet_weights_have_its_moments(alpha: float) -> None:
    merged = parse_sampler({"kind": "dirichlet", "alpha": alpha}).merge(candidates(), streams(), 1)
    by_token = torch.zeros(ROWS, 4).scatter(1, merged.ids, merged.weights)
    p = torch.tensor(PROBABILITIES)
    torch.testing.assert_close(by_token.mean(dim=0), p, atol=0.02, rtol=0)
    torch.testing.assert_close(by_token.var(dim=0), p * (1 - p) / (alpha + 1), atol=0.01, rtol=0.1)


def test_several_tokens_are_drawn_with_replacement() -> None:
    merged = Multiplex(draws=3).merge(candidates(), streams(), 1)
    for place in range(3):
        shares = torch.bincount(merged.ids[:, place], minlength=4) / ROWS
        torch.testing.assert_close(shares, torch.tensor(PROBABILITIES), atol=0.03, rtol=0)
    p = torch.tensor(PROBABILITIES)[merged.ids]
    torch.testing.assert_close(merged.weights, p / p.sum(dim=1, keepdim=True))
    equal = Multiplex(draws=3, weights="equal").merge(candidates(5), streams(5), 1)
    torch.testing.assert_close(equal.weights, torch.full((5, 3), 1 / 3))


@pytest.mark.parametrize("kind", ["gumbel", "dirichlet", "multiplex"])
@pytest.mark.parametrize("before", [False, True])
def test_a_row_is_the_same_beside_any_other(kind: str, before: bool) -> None:
    settings = MixtureSettings(top_p=0.9, width=3, at_least=3, noise_before_width=before)
    rows = 3 * torch.randn(5, 600, generator=torch.Generator().manual_seed(0))
    crowded = torch.cat([rows, torch.zeros(1, 600)])
    sampler = parse_sampler({"kind": kind})

    def merged(logits: Tensor, own: Streams) -> tuple[Tensor, Tensor]:
        found = sampler.merge(Candidates.of(logits, settings), own, 7)
        return found.ids, found.weights

    (ids, weights), (all_ids, all_weights) = merged(rows, streams(5)), merged(crowded, streams(6))
    assert torch.equal(weights, all_weights[:5])
    assert torch.equal(ids[weights > 0], all_ids[:5][weights > 0])
    last = torch.tensor([4])
    alone = merged(rows[last], streams(5).take(last))
    assert torch.equal(alone[1][0], weights[4])


def test_a_policy_draws_around_the_mean() -> None:
    mean, deviation = torch.full((ROWS, 8), 3.0), torch.full((ROWS, 8), 0.5)
    noise = parse_sampler({"kind": "policy", "temperature": 2.0}).draw_latent(mean, deviation, streams(), 1) - mean
    assert noise.mean().item() == pytest.approx(0.0, abs=0.02)
    assert noise.std().item() == pytest.approx(1.0, rel=0.02)
    cold = parse_sampler({"kind": "policy", "temperature": 0.0, "stop": "argmax"})
    assert cold.deterministic
    assert torch.equal(cold.draw_latent(mean, deviation, streams(), 1), mean)
    assert torch.equal(parse_sampler({"kind": "none"}).draw_latent(mean, deviation, streams(), 1), mean)


def test_a_drawn_stop_has_the_probability_of_the_end() -> None:
    sampler = parse_sampler({"kind": "policy"})
    assert sampler.draws_stop
    stops = sampler.draw_stop(torch.full((ROWS,), 0.3), streams(), 4)
    assert stops.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_answers_are_drawn_only_where_they_are_told_to() -> None:
    logits = torch.tensor(PROBABILITIES).log().expand(ROWS, -1)
    greedy = parse_sampler({"kind": "gumbel"})
    assert greedy.is_greedy
    assert set(greedy.choose_token(logits, streams(), 9).tolist()) == {0}
    drawn = parse_sampler({"kind": "gumbel", "scale": 0.0, "answer_temperature": 1.0})
    assert not drawn.is_greedy
    assert not drawn.deterministic
    shares = torch.bincount(drawn.choose_token(logits, streams(), 9), minlength=4) / ROWS
    torch.testing.assert_close(shares, torch.tensor(PROBABILITIES), atol=0.02, rtol=0)
