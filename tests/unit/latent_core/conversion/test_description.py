"""Conventions: of a family, changed by settings, and said in as few files as possible."""

import pytest
from trainers import base_tokenizer

from latent_core.conversion.description import (
    FAMILIES,
    changed_format,
    described_config,
    family_format,
    opened_prompt,
    released_name,
)
from latent_core.errors import UserError
from latent_core.models.formats import FORMATS


def test_families_are_those_of_the_released_architectures() -> None:
    assert [family_format(name, has_projector=True).name for name in FAMILIES] == list(FAMILIES)
    assert family_format("codi", has_projector=True) == FORMATS["CODIGPT2"]({"projector": True})
    assert family_format("codi", has_projector=False).feedback == "identity"


@pytest.mark.parametrize(
    ("family", "model_type", "name"),
    [
        ("coconut", "gpt2", "COCONUTGPT2"),
        ("codi", "llama", "CODILlama"),
        ("coconut", "qwen2", None),
        ("generic", "gpt2", None),
    ],
)
def test_released_names(family: str, model_type: str, name: str | None) -> None:
    assert released_name(family, model_type) == name


def test_a_prompt_follows_the_start_token_unless_it_is_given() -> None:
    start = family_format("coconut", has_projector=False)
    assert changed_format(start, {"start_token": "<|s|>"}).prompt == "{question}\n<|s|>"
    assert changed_format(start, {"start_token": None}).prompt == "{question}\n"
    assert changed_format(start, {"start_token": "<|s|>", "prompt": "{question}!"}).prompt == "{question}!"


@pytest.mark.parametrize("opens", [False, True])
def test_a_token_in_front_of_every_text_is_written_out(opens: bool) -> None:
    tokenizer = base_tokenizer(opens)
    start = family_format("codi", has_projector=False)
    prompt = opened_prompt(start, tokenizer).fill_prompt("ann has")
    by_hand = tokenizer("ann has", add_special_tokens=True)["input_ids"]
    tokenizer.add_tokens(["<|start-latent|>"], special_tokens=True)
    assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == [*by_hand, len(tokenizer) - 1]


def test_latent_json_is_written_only_where_it_says_something() -> None:
    tokenizer = base_tokenizer()
    tokenizer.add_tokens(["<|start-latent|>", "<|end-latent|>", "<|latent|>"], special_tokens=True)
    implied = family_format("coconut", has_projector=False)
    config, described = described_config({"auto_map": {}, "latent_steps": 3}, implied, "COCONUTGPT2", tokenizer)
    assert described is None
    assert config["latent_steps"] == 3
    assert config["architectures"] == ["COCONUTGPT2"]
    other = changed_format(implied, {"latent_steps": 5})
    config, described = described_config({"latent_steps": 3}, other, "COCONUTGPT2", tokenizer)
    assert described == other
    assert "latent_steps" not in config
    config, described = described_config({"a": 1}, implied, None, tokenizer)
    assert (config, described) == ({"a": 1}, implied)
    with pytest.raises(UserError, match=r"the tokenizer has no <\|go\|>"):
        described_config({}, changed_format(implied, {"start_token": "<|go|>"}), None, tokenizer)
