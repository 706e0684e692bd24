"""JSON schema of configurations: what editors complete and check, and what the reference of settings is made of.

Pydantic writes the schema of a model. What it cannot know is added: descriptions that stand in docstrings, kinds of
samplers and rules with the settings of each, sections that may be empty, and the keys of a sweep's space.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from latent_core.answers.extractors import EXTRACTORS, is_extractor
from latent_core.answers.grading import GRADERS
from latent_core.budgets import DEFAULT_WAVES, RULES
from latent_core.budgets.gain_features import GAINING
from latent_core.registry import Registry
from latent_core.reward.losses import LOSSES
from latent_core.samplers import SAMPLERS
from latent_core.settings import Settings
from latent_core.tasks.loading import TASKS
from latent_core.training.families import FAMILIES
from orchestrator.config.configurations import model_of
from orchestrator.config.distributions import KINDS as DISTRIBUTIONS
from orchestrator.config.space import BUDGET, GROUP_KEYS, GROUP_PREFIX, PLAIN_KEYS

Schema = dict[str, Any]

FIRST_RELEASE = "0.1.0"
"""Since when there are keys that do not say it: `Field(json_schema_extra={"since": "0.2.0"})`."""

# Editors know this one best.
_DIALECT = "http://json-schema.org/draft-07/schema#"
_ATTRIBUTE = re.compile(r"    (\w+): (.+)")
_OWN = "latent_core"
_SAMPLER = "sampler"
CHOOSES = {
    "kind": "What makes samples differ; the other settings of the section are those of the kind.",
    "rule": "What decides which questions go on; the other settings of the section are those of the rule.",
}
"""What the setting of a section does on which its others depend."""
_WAVES: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1},
    "minItems": 1,
    "default": list(DEFAULT_WAVES),
    "description": "Samples of a question that there are at the end of each wave; the last one is the most it can get.",
}


def config_schema(command: str, *, shipped_only: bool = False) -> Schema:
    """Return the JSON schema of the configuration of a command.

    Args:
        command: One of `CONFIGURED`.
        shipped_only: Whether kinds of plugins are left out, which need not be there on the next machine.
    """
    model = model_of(command)
    schema = model_schema(model)
    properties = schema["properties"]
    registries: dict[str, tuple[str, Registry[Any], Mapping[str, Schema]]] = {
        _SAMPLER: ("kind", SAMPLERS, {}),
        BUDGET: ("rule", RULES, {"waves": _WAVES}),
    }
    conditions: dict[str, Schema] = {}
    axes: dict[str, Schema] = {}
    for key, (word, registry, shared) in registries.items():
        if key in properties:
            kinds = {name: model_schema(registry[name]) for name in _names(registry, shipped_only)}
            properties[key] = _by_kind(properties[key], word, kinds, shared)
            conditions[key] = {"properties": {word: {"enum": list(kinds)}}}
            shipped = {"enum": list(kinds)}
            axes[f"{key}.{word}"] = {"anyOf": [shipped, {"type": "array", "items": shipped}]}
    _name_known(schema, shipped_only)
    if "sweep" in properties:
        space = _space(schema)
        properties["sweep"]["anyOf"][0]["properties"]["space"]["items"] = space
        known = {"items": {"propertyNames": {"enum": list(space["properties"])}, "properties": axes}}
        conditions["sweep"] = {"properties": {"space": known}}
    if "plugins" in properties and conditions:
        # Plugins bring kinds, and settings of theirs, that nobody knows here.
        some = {"required": ["plugins"], "properties": {"plugins": {"minItems": 1}}}
        schema |= {"if": {"not": some}, "then": {"properties": conditions}}
    return {"$schema": _DIALECT, "title": f"latentswarm {command}", **schema}


def model_schema(model: type[BaseModel]) -> Schema:
    """Return the JSON schema of a model, all in one piece."""
    schema = model.model_json_schema(schema_generator=_Generator)
    inlined: Schema = _inlined(schema, schema.get("$defs", {}))
    inlined.pop("$defs", None)
    return inlined


def described_attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what docstrings say of the settings of a model and of its bases: their sections "Attributes"."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nAttributes:\n")
        name = ""
        for line in section.splitlines():
            if attribute := _ATTRIBUTE.fullmatch(line):
                name = attribute[1]
                found[name] = attribute[2]
            elif name and line.startswith("        "):
                found[name] += f" {line.strip()}"
            elif line and not line.startswith(" "):
                break
    return found


class _Generator(GenerateJsonSchema):
    """Generator of schemas that reads docstrings, and lets sections be empty as `Settings` does."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model with a description of every setting."""
        result = super().model_schema(schema)
        model = schema["cls"]
        said = described_attributes(model)
        result["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]
        properties = result.get("properties", {})
        for name, one in properties.items():
            text = one.get("description") or said.get(name, "")
            # Fields that are described in place are so in half sentences.
            one["description"] = text[:1].upper() + text[1:] if text.endswith(".") or not text else _sentence(text)
            if isinstance(model.model_fields[name].default, Settings):
                one.pop("default", None)
                properties[name] = {"description": one.pop("description"), "anyOf": [one, {"type": "null"}]}
        return result


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _inlined(node: Any, definitions: Mapping[str, Any], names: bool = False) -> Any:
    """Return a schema with what it refers to in the place of references, and without titles.

    Args:
        node: A part of the schema.
        definitions: What references lead to.
        names: Whether the keys of this part are names of settings.
    """
    if isinstance(node, list):
        return [_inlined(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        definition = definitions[node["$ref"].rpartition("/")[2]]
        return {**_inlined(definition, definitions), **{key: one for key, one in node.items() if key != "$ref"}}
    parts = {
        key: _inlined(one, definitions, key == "properties" and not names)
        for key, one in node.items()
        if names or key not in ("title", "$defs")
    }
    if not names and "prefixItems" in parts:
        parts["items"] = parts.pop("prefixItems")
    return parts


def _names(registry: Registry[Any], shipped_only: bool) -> list[str]:
    own = (_OWN, __name__.partition(".")[0])
    return [
        name
        for name in registry
        if not shipped_only or all(module.partition(".")[0] in own for module in registry.modules(name))
    ]


def _by_kind(outer: Schema, word: str, kinds: Mapping[str, Schema], shared: Mapping[str, Schema]) -> Schema:
    """Return the schema of a section whose other settings depend on one of them.

    Args:
        outer: Description and default.
        word: The setting that chooses.
        kinds: Schemas of the settings of each kind.
        shared: Schemas of settings that all kinds have.
    """
    choices: list[Schema] = [
        {
            **kind,
            "properties": {
                word: {"const": name, "description": kind["description"]},
                **shared,
                **kind.get("properties", {}),
            },
            "required": [word, *kind.get("required", [])],
            "additionalProperties": False,
        }
        for name, kind in kinds.items()
    ]
    other = {"description": CHOOSES[word], "not": {"enum": list(kinds)}}
    of_plugins = {"type": "object", "required": [word], "properties": {word: other}}
    nothing = [{"type": "null"}] if outer.get("default", 0) is None else []
    return {**outer, "anyOf": [*choices, of_plugins, *nothing]}


def _name_known(schema: Schema, shipped_only: bool) -> None:
    """Give names that are registered as examples: editors complete them, and others may come with plugins."""
    is_extractor("")  # Discovers those of plugins.
    extractors = [name for name, one in EXTRACTORS.items() if not shipped_only or one.find.__module__.startswith(_OWN)]
    known: dict[str, Callable[[], list[str]]] = {
        "task.name": lambda: _names(TASKS, shipped_only),
        "task.grader": lambda: [name for name in _names(GRADERS, shipped_only) if GRADERS[name].fits_any_data],
        "task.extractor": lambda: sorted(extractors),
        "training.objective": lambda: _names(LOSSES, shipped_only),
        "family": lambda: _names(FAMILIES, shipped_only),
        "budget.aggregation": lambda: list(GAINING),
    }
    for key, names in known.items():
        for _, one in _found(schema, key.split(".")):
            one["examples"] = names()


def _found(schema: Schema, path: list[str], pointer: str = "#") -> list[tuple[str, Schema]]:
    """Return the schemas of a key, in every alternative that has it, with where they stand."""
    if not path:
        return [(pointer, schema)]
    own = schema.get("properties", {}).get(path[0])
    found = _found(own, path[1:], f"{pointer}/properties/{path[0]}") if own is not None else []
    for number, choice in enumerate(schema.get("anyOf", [])):
        found += _found(choice, path, f"{pointer}/anyOf/{number}")
    return found


def _space(schema: Schema) -> Schema:
    """Return the schema of a grid of a sweep's space."""
    task = [GROUP_PREFIX + name for name in schema["properties"]["task"]["properties"]]
    grids = {key: _values(schema, key, drawn=key in PLAIN_KEYS) for key in (*PLAIN_KEYS, *GROUP_KEYS, *task)}
    for key in (_SAMPLER, BUDGET):
        for choice in schema["properties"][key]["anyOf"]:
            grids |= {f"{key}.{name}": _values(schema, f"{key}.{name}") for name in choice.get("properties", {})}
    grids[BUDGET] = _values(schema, BUDGET, drawn=False)
    return {
        "type": "object",
        "properties": grids,
        # Settings of kinds that plugins bring.
        "patternProperties": {rf"^({_SAMPLER}|{BUDGET})\.": {}},
        "additionalProperties": False,
    }


def _values(schema: Schema, key: str, *, drawn: bool = True) -> Schema:
    """Return the schema of what a grid gives for a key: a value that is no list, a list of values, a distribution.

    Args:
        schema: The schema of the configuration, which says what a value is.
        key: The key.
        drawn: Whether numbers may come from a distribution.
    """
    found = _found(schema, key.split("."))
    references = [{"$ref": pointer} for pointer, _ in found]
    value: Schema = references[0] if len(references) == 1 else {"anyOf": references}
    several = [{"allOf": [value], "not": {"type": "array"}}, {"type": "array", "items": value, "minItems": 1}]
    types = {part.get("type") for _, one in found for part in (one, *one.get("anyOf", []))}
    if drawn and types & {"integer", "number"}:
        several.append(_DISTRIBUTION)
    # The last one is the most general: behind those of shipped kinds stands that of others.
    return {"description": found[-1][1]["description"], "anyOf": several}


_BOUNDS: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_DISTRIBUTION: Schema = {
    "type": "object",
    "properties": dict.fromkeys(DISTRIBUTIONS, _BOUNDS),
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
