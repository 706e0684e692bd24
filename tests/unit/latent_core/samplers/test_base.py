"""Reading sampler settings, and saying in words what they are."""

import re
from typing import Any

import pytest
import torch

from latent_core.errors import UserError
from latent_core.randomness import LEAST_DROPOUT, Streams
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import LEAST_STRENGTH, DrawSite, Site

SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "none"}, "none"),
    ({"kind": "gaussian", "sigma": 0.4}, "gaussian sigma=0.4"),
    ({"kind": "gaussian", "sigma": 0.4, "relative": True}, "gaussian sigma=0.4 relative"),
    ({"kind": "gaussian", "sigma": 1, "relative": False}, "gaussian sigma=1.0"),
    ({"kind": "mc_dropout", "p": 0.2}, "mc_dropout p=0.2"),
    ({"kind": "mc_dropout", "p": 0.2, "sites": ["feed_forward"], "scope": ["latent"]}, "mc_dropout p=0.2"),
    (
        {"kind": "mc_dropout", "p": 0.2, "sites": ["attention", "feed_forward"], "scope": ["latent", "prompt"]},
        "mc_dropout p=0.2 sites=feed_forward+attention scope=prompt+latent",
    ),
    ({"kind": "mc_dropout", "p": 0.2, "mask": "trajectory"}, "mc_dropout p=0.2 mask=trajectory"),
    ({"kind": "answer_sampling"}, "answer_sampling"),
    ({"kind": "answer_sampling", "temperature": 0.7, "top_p": 0.9}, "answer_sampling temperature=0.7 top_p=0.9"),
]


@pytest.mark.parametrize(("config", "description"), SETTINGS)
def test_a_setting_survives_the_way_through_plain_data(config: dict[str, Any], description: str) -> None:
    sampler = parse_sampler(config)
    assert sampler.describe() == description
    data = sampler.to_config()
    assert next(iter(data)) == "kind"
    assert parse_sampler(data) == sampler
    assert parse_sampler(data).to_config() == data
    # Complete: what is left out has its default in it, so that a stored setting never changes its meaning. Only what a
    # sampler was once shipped without is unsaid at its default, as in the settings that were stored before.
    assert set(data) == {"kind", *type(sampler).model_fields} - set(type(sampler).silent)


def test_equal_settings_are_equal_however_they_are_spelled() -> None:
    one = parse_sampler({"kind": "mc_dropout", "p": 0.2, "sites": ["attention", "feed_forward", "attention"]})
    other = parse_sampler({"kind": "mc_dropout", "p": 0.2, "sites": ["feed_forward", "attention"]})
    assert one == other
    assert one.to_config() == other.to_config()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "gausian", "sigma": 1}, "unknown sampler 'gausian': did you mean 'gaussian'?"),
        ({"sigma": 1}, "sampler.kind: missing; known: answer_sampling, dirichlet, gaussian, gumbel, mc_dropout"),
        ({"kind": None}, "sampler.kind: missing; known: answer_sampling, dirichlet, gaussian, gumbel, mc_dropout"),
        (
            {"kind": "gaussian", "sigm": 1},
            "unknown key 'sampler.sigm' of sampler 'gaussian': did you mean 'sigma'?",
        ),
        ({"kind": "gaussian"}, "sampler.sigma: missing, and it has no default"),
        ({"kind": "gaussian", "sigma": -1}, "sampler.sigma: input should be greater than or equal to 0 (got -1)"),
        ({"kind": "gaussian", "sigma": float("inf")}, "sampler.sigma: input should be a finite number (got inf)"),
        ({"kind": "mc_dropout", "p": 1.0}, "sampler.p: input should be less than 1 (got 1.0)"),
        ({"kind": "mc_dropout", "p": -0.1}, "sampler.p: input should be greater than or equal to 0 (got -0.1)"),
        ({"kind": "mc_dropout", "p": 0.1, "sites": []}, "sampler.sites: name at least one (got [])"),
        ({"kind": "mc_dropout", "p": 0.1, "scope": []}, "sampler.scope: name at least one (got [])"),
        ({"kind": "answer_sampling", "temperature": 0}, "sampler.temperature: input should be greater than 0 (got 0)"),
        ({"kind": "answer_sampling", "top_p": 0}, "sampler.top_p: input should be greater than 0 (got 0)"),
        (
            {"kind": "answer_sampling", "top_p": 1.1},
            "sampler.top_p: input should be less than or equal to 1 (got 1.1)",
        ),
        ({"kind": "none", "p": 0.1}, "unknown key 'sampler.p' of sampler 'none': no keys are known here"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_cure(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_sampler(config)
    # "(and 1 more problem)" may follow: a missing setting beside a misspelt one.
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [("sites", ["mlp"], "feed_forward"), ("scope", ["thinking"], "latent"), ("mask", "question", "trajectory")],
)
def test_a_wrong_choice_is_answered_with_the_possible_ones(key: str, value: object, named: str) -> None:
    with pytest.raises(UserError, match=rf"sampler\.{key}.*'{named}'"):
        parse_sampler({"kind": "mc_dropout", "p": 0.1, key: value})


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"kind": "answer_sampling", "temperature": 1e-37}, "sampler.temperature: must be at least 1e-30"),
        ({"kind": "answer_sampling", "top_p": 1e-300}, "sampler.top_p: must be at least 1e-30"),
        ({"kind": "mc_dropout", "p": 1e-5}, "sampler.p: must be 0 or at least 1.53e-05"),
        ({"kind": "gaussian", "sigma": 1e-46}, "sampler.sigma: must be 0 or at least 1e-30"),
        ({"kind": "singular_value", "alpha": 1e-46}, "sampler.alpha: must be 0 or at least 1e-30"),
    ],
)
def test_what_single_precision_does_not_tell_from_nothing_is_refused(config: dict[str, Any], limit: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(limit)}"):
        parse_sampler(config)


@pytest.mark.parametrize("logits", [[3e4, 2e4, -3e4], [1e-3, 0.0, -1e-3]])
def test_the_least_temperature_and_share_are_greedy(logits: list[float]) -> None:
    streams = Streams.for_questions(0, ["a", "b"])
    for setting in ("temperature", "top_p"):
        sampler = parse_sampler({"kind": "answer_sampling", setting: LEAST_STRENGTH})
        assert sampler.choose_token(torch.tensor([logits, logits[::-1]]), streams, 1).tolist() == [0, 2]


def test_the_least_dropout_and_noise_still_act() -> None:
    streams = Streams.for_questions(0, ["a"])
    assert (streams.keep_mask(1, 1, 1 << 18, LEAST_DROPOUT) == 0).any()
    sampler = parse_sampler({"kind": "gaussian", "sigma": LEAST_STRENGTH})
    assert (sampler.perturb_latent(torch.zeros(1, 64), streams, 1) != 0).all()


def test_draw_sites_never_share_a_number() -> None:
    numbers = [DrawSite.LATENT_NOISE, DrawSite.ANSWER_TOKEN]
    numbers += [DrawSite.in_layer(site, layer) for layer in range(200) for site in Site]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 1 << 16
