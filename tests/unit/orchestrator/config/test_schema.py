"""JSON schemas of configurations: they take what commands take, and refuse what is misspelt."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml
from generated import generated
from pydantic import Field

from latent_core.errors import UserError
from latent_core.settings import Settings
from orchestrator.config.configurations import model_of
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.config.schema import config_schema, described_attributes, model_schema
from orchestrator.config.shipped import SCHEMAS, shipped_configs
from orchestrator.config.space import expand_space

ROOT = Path(__file__).parents[4]
CONFIGS = shipped_configs()
MARK = "# yaml-language-server: $schema="


def schema_named_in(config: Path) -> Path:
    """The schema that an editor would load."""
    [line] = [line for line in config.read_text().splitlines() if line.startswith(MARK)]
    return (config.parent / line.removeprefix(MARK)).resolve()


def validator(schema: Path) -> jsonschema.Draft7Validator:
    content = json.loads(schema.read_text())
    jsonschema.Draft7Validator.check_schema(content)
    return jsonschema.Draft7Validator(content)


def misspelt(content: Any) -> Iterator[tuple[str, Any]]:
    """The same content with one key misspelt, for each of its keys."""
    whole = copy.deepcopy(content)

    def walk(node: Any) -> Iterator[str]:
        for key, inner in list(node.items()) if isinstance(node, dict) else []:
            del node[key]
            node[f"{key}x"] = inner
            yield key
            del node[f"{key}x"]
            node[key] = inner
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            yield from walk(inner)

    for key in walk(whole):
        yield key, copy.deepcopy(whole)
    assert whole == content


def test_files_are_current() -> None:
    stale = [str(file) for file, text in generated().items() if not file.is_file() or file.read_text() != text]
    assert stale == [], "run `make record`"
    assert {file for file in generated() if file.suffix == ".json"} == set(SCHEMAS.glob("*.json"))


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configurations_name_a_schema_that_takes_them(name: str) -> None:
    schema = schema_named_in(CONFIGS[name])
    content = yaml.safe_load(CONFIGS[name].read_text())
    assert [error.message for error in validator(schema).iter_errors(content)] == []
    parse_config(model_of(schema.stem), content)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_misspelt_key_is_marked(name: str) -> None:
    checks = validator(schema_named_in(CONFIGS[name]))
    passed = [key for key, content in misspelt(yaml.safe_load(CONFIGS[name].read_text())) if checks.is_valid(content)]
    assert passed == []


BASE: dict[str, Any] = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}}
TAKEN: dict[str, dict[str, Any]] = {
    "nothing but what must be": {},
    "sections that are empty": {"search": None, "scorer": None, "budget": None, "cluster": None},
    "a kind with its settings": {"sampler": {"kind": "mc_dropout", "p": 0.1, "scope": ["boundary", "latent"]}},
    "one number of beams": {"search": {"kind": "beam", "beams": 4, "prune_from": "auto"}},
    "several": {"search": {"kind": "smc", "beams": [1, 4], "prune_from": 2}},
    "a rule": {"sampler": {"kind": "gaussian", "sigma": 1}, "budget": {"rule": "posterior", "waves": [4, 8]}},
    "columns": {"task": {"path": "some.json", "columns": {"question": ["a", "b"], "answer": "c"}}},
    "several objectives": {"sweep": {"objective": ["best_of_n@4", "flops"], "space": [{"seed": [1, 2]}]}},
    "lists and distributions": {
        "sweep": {
            "space": [
                {"sampler.kind": "mc_dropout", "sampler.p": {"uniform": [0.1, 0.4]}, "sampler.sites": [["attention"]]},
                {"sampler.kind": "gaussian", "sampler.sigma": [0.1, 1], "budgets": [[1, 4], [1, 8]], "latent_steps": 4},
                {"sampler.kind": ["policy", "gumbel"], "sampler.temperature": {"loguniform": [0.5, 2]}},
                {"budget": [None, {"rule": "decided", "waves": [4, 8]}], "seed": {"randint": [1, 9]}},
                {"budget.rule": "posterior", "budget.confidence": [0.9, 0.99], "search.beams": [[4, 16]]},
                {"checkpoint": ["a", "b"], "task.name": ["gsm8k", "svamp"], "scorer.checkpoint": [None, "c"]},
            ]
        }
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "another kind": {"sampler": {"kind": "gausian", "sigma": 1}},
    "a setting of another kind": {"sampler": {"kind": "gaussian", "sigma": 1, "p": 0.1}},
    "a kind without what it needs": {"sampler": {"kind": "gaussian"}},
    "a number out of range": {"sampler": {"kind": "mc_dropout", "p": 1.0}},
    "no sampler": {"sampler": None},
    "text for a number": {"actors": "many"},
    "another rule": {"budget": {"rule": "posteriour"}},
    "another precision": {"dtype": "float8"},
    "a budget of nothing": {"budgets": [0]},
    "steps before the first": {"search": {"prune_from": 0}},
    "an axis that there is not": {"sweep": {"space": [{"sampler.sigmas": [1]}]}},
    "an axis of what cannot vary": {"sweep": {"space": [{"actors": [1, 2]}]}},
    "a kind that there is not among values": {"sweep": {"space": [{"sampler.kind": ["gausian"]}]}},
    "values out of range": {"sweep": {"space": [{"sampler.p": [0.1, 1.5]}]}},
    "no values": {"sweep": {"space": [{"sampler.p": []}]}},
    "another distribution": {"sweep": {"space": [{"sampler.p": {"normal": [0, 1]}}]}},
    "a list where each value is one": {"sweep": {"space": [{"budgets": [1, 4]}]}},
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_commands_take_is_taken(what: str) -> None:
    content = {**BASE, **TAKEN[what]}
    parse_config(model_of("sweep"), content)
    assert [error.message for error in validator(SCHEMAS / "run.json").iter_errors(content)] == []


@pytest.mark.parametrize("what", REFUSED)
def test_what_commands_refuse_is_marked(what: str) -> None:
    content = {**BASE, **REFUSED[what]}
    with pytest.raises(UserError):
        expand_space(parse_config(RunConfig, content))
    assert not validator(SCHEMAS / "run.json").is_valid(content)


def test_with_plugins_other_kinds_are_possible() -> None:
    mine = {
        **BASE,
        "sampler": {"kind": "mine", "strength": 3},
        "sweep": {"space": [{"sampler.kind": "mine", "sampler.strength": [1, 2]}]},
    }
    checks = validator(SCHEMAS / "run.json")
    assert not checks.is_valid(mine)
    assert not checks.is_valid({**mine, "plugins": []})
    assert checks.is_valid({**mine, "plugins": ["mine.py"]})
    assert not checks.is_valid({**mine, "plugins": ["mine.py"], "samplr": {}})
    assert not checks.is_valid({**mine, "plugins": ["mine.py"], "sampler": {"kind": "gaussian", "sigm": 1}})


class Base(Settings):
    """Some settings.

    Attributes:
        one: The first,
            in two lines.
        two: The second.

    Whatever follows.
    """

    one: int = 1
    two: int = Field(default=2, description="said in place", json_schema_extra={"since": "0.9.0"})


class Derived(Base):
    """More of them.

    Attributes:
        three: The third: with a colon.

    Raises:
        four: No attribute.
    """

    named: ClassVar[int] = 3
    three: float | None = None


def test_descriptions_come_from_docstrings_and_fields() -> None:
    assert described_attributes(Derived) == {
        "one": "The first, in two lines.",
        "two": "The second.",
        "three": "The third: with a colon.",
    }
    schema = model_schema(Derived)
    assert {name: one["description"] for name, one in schema["properties"].items()} == {
        "one": "The first, in two lines.",
        "two": "Said in place.",
        "three": "The third: with a colon.",
    }
    assert schema["description"] == "More of them."
    assert schema["properties"]["two"]["since"] == "0.9.0"


@pytest.mark.parametrize("command", ["run", "sweep", "annotate", "train-rm", "train-reasoner"])
def test_nothing_refers_elsewhere(command: str) -> None:
    """Editors need no other file, and every reference leads somewhere."""
    schema = config_schema(command)

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            yield from references(inner)

    for reference in references(schema):
        place: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert place["description"]
