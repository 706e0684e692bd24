"""Settings reference: every key of every command is there, and says what it does."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from latent_core.budgets import RULES
from latent_core.errors import UserError
from latent_core.samplers import SAMPLERS
from orchestrator.cli import latentswarm
from orchestrator.commands.options import most_used
from orchestrator.config.configurations import CONFIGURED, model_of
from orchestrator.config.keys import all_keys, by_command, matching, type_in_words

KEYS = all_keys()


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def names_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields of a model, found without its schema."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if name == "sampler":
            yield f"{prefix}sampler.kind"
            for kind in SAMPLERS:
                yield from names_of(SAMPLERS[kind], f"{prefix}sampler.")
        elif name == "budget":
            yield from (f"{prefix}budget.rule", f"{prefix}budget.waves")
            for rule in RULES:
                yield from names_of(RULES[rule], f"{prefix}budget.")
        else:
            for inner in models_in(field.annotation):
                yield from names_of(inner, f"{prefix}{name}.")


@pytest.mark.parametrize("command", CONFIGURED)
def test_every_key_of_every_command_is_there(command: str) -> None:
    found = {key.name.replace("[]", "") for key in KEYS if command in key.commands}
    assert found == set(names_of(model_of(command)))


def test_every_command_with_a_configuration_is_there() -> None:
    reading = [
        name for name, command in latentswarm.commands.items() if any(one.name == "config" for one in command.params)
    ]
    assert sorted(reading) == sorted(CONFIGURED)


def test_every_key_says_what_it_does_and_takes() -> None:
    assert [key.name for key in KEYS if len(key.description) < 10 or not key.type or not key.since] == []


@pytest.mark.parametrize("command", CONFIGURED)
def test_most_used_settings_exist(command: str) -> None:
    lines = most_used(command).splitlines()[2:]
    named = [line.split()[0] for line in lines if line.strip()]
    known = {key.name for key in KEYS if command in key.commands}
    assert set(named) <= known
    assert len(named) >= 4


def test_settings_of_a_kind_are_those_of_its_class() -> None:
    for kind in SAMPLERS:
        of_kind = {key.name.partition(".")[2] for key in KEYS if key.of == kind}
        assert of_kind == set(SAMPLERS[kind].model_fields)


def test_defaults_are_those_of_the_models() -> None:
    def default(name: str, command: str = "run") -> str | None:
        [key] = [key for key in KEYS if key.name == name and command in key.commands]
        return key.default

    assert default("budgets") == "[1, 2, 4, 8, 16, 32, 64]"
    assert default("checkpoint") is None
    assert default("task.split") == "test"
    assert default("actor.gpus") == "0.0"
    assert default("training.patience", "train-rm") == "10"
    assert default("stages[].updates", "train-reasoner") is None


def test_a_key_or_what_is_below_it_is_found() -> None:
    assert [key.name for key in matching(KEYS, "search.beams")] == ["search.beams"]
    assert {key.name for key in matching(KEYS, "search")} == {
        "search",
        *(f"search.{name}" for name in ("kind", "beams", "candidates", "prune_from", "temperature")),
    }
    assert {key.of for key in matching(KEYS, "sampler.temperature")} >= {"answer_sampling", "gumbel", "policy"}
    assert matching(KEYS, "stages.updates") == matching(KEYS, "stages[].updates") != []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("serach.beams", "did you mean 'search.beams'?"),
        ("beams", "there is search.beams"),
        ("sampler.sigm", "did you mean 'sampler.sigma'?"),
    ],
)
def test_a_wrong_key_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=r"^unknown key") as refused:
        matching(KEYS, name)
    assert str(refused.value) == f"unknown key {name!r}: {hint}"


def test_keys_that_commands_share_are_there_once() -> None:
    parts = list(by_command(KEYS))
    assert [commands[0] for commands, _, _ in parts] == [
        "run",
        "annotate",
        "train-rm",
        "train-policy",
        "train-reasoner",
    ]
    assert sorted(id(key) for _, own, _ in parts for key in own) == sorted(map(id, KEYS))
    assert parts[2][2] == ["tracking", "cluster"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "whole number from 1 on"),
        ({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "whole number from 0 to 2^63 - 1"),
        ({"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0}, "number above 0, below 1"),
        ({"type": "number", "maximum": 2.5}, "number up to 2.5"),
        ({"type": "number", "minimum": 0.001, "maximum": 1e6}, "number from 0.001 to 1,000,000"),
        ({"enum": ["a", "b"], "type": "string"}, "one of a, b"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["x", "y"]}, "text or null, such as x, y"),
        ({"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]}, "section"),
        ({"type": "array", "items": {"type": "boolean"}}, "list, each true or false"),
        ({"type": "array", "items": [{"type": "number"}, {"type": "number"}]}, "list of 2, each number"),
        ({"type": "object"}, "keys and values"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_in_words(schema) == words
