"""Settings reference: every key of every configuration, with its type, its default and what it does."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.config.configurations import readers
from orchestrator.config.schema import CHOOSES, FIRST_RELEASE, Schema, config_schema

_SHARED_BY_KINDS = ("kind", "rule", "waves")
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Key:
    """A key of configurations.

    Attributes:
        name: Dotted, as it is written on the command line; "[]" stands for a place in a list.
        commands: Whose configurations have it.
        of: The kind of sampler or rule that has it; empty where it does not depend on one.
        type: What it takes, in words.
        default: What stands for it where it is not given, as it is written in a configuration; None where it must be.
        description: What it does.
        since: The release that brought it.
    """

    name: str
    commands: tuple[str, ...]
    of: str
    type: str
    default: str | None
    description: str
    since: str

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def all_keys(*, shipped_only: bool = False) -> list[Key]:
    """Return all keys, in the order of the commands and of their settings; one that commands share is there once.

    Args:
        shipped_only: Whether settings of kinds that plugins bring are left out.
    """
    found: dict[tuple[Any, ...], Key] = {}
    for commands in readers().values():
        for key in _walk(config_schema(commands[0], shipped_only=shipped_only), commands):
            same = (key.name, key.of, key.type, key.default, key.description)
            before = found[same].commands if same in found else ()
            found[same] = Key(**{**key.to_plain(), "commands": (*before, *commands)})
    return list(found.values())


def by_command(keys: Sequence[Key]) -> Iterator[tuple[tuple[str, ...], list[Key], list[str]]]:
    """Yield commands with the same configuration, the keys that come with them, and sections that stood before."""
    for commands in readers().values():
        theirs = [key for key in keys if commands[0] in key.commands]
        own = [key for key in theirs if key.commands[0] == commands[0]]
        shared = dict.fromkeys(key.name.partition(".")[0] for key in theirs if key.commands[0] != commands[0])
        if theirs:
            yield commands, own, list(shared)


def matching(keys: list[Key], name: str) -> list[Key]:
    """Return the key of a name, or those below it.

    Raises:
        UserError: If there is none; the message names the nearest one.
    """
    wanted = name.replace("[]", "").rstrip(".")
    plain = {key: key.name.replace("[]", "") for key in keys}
    found = [key for key, text in plain.items() if text == wanted or text.startswith(f"{wanted}.")]
    if not found:
        ends = sorted({text for text in plain.values() if text.rpartition(".")[2] == wanted})
        hint = f"there is {', '.join(ends)}" if ends else nearest_hint(wanted, sorted({*plain.values()}))
        raise UserError(f"unknown key {name!r}: {hint}")
    return found


def _walk(schema: Schema, commands: tuple[str, ...], prefix: str = "", of: str = "") -> Iterator[Key]:
    required = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        kinds, sections = _kinds(one), _sections(one)
        if not (of and name in _SHARED_BY_KINDS):
            default = None if name in required and "default" not in one else _written(one, is_section=bool(sections))
            text, since = one.get("description", ""), one.get("since", FIRST_RELEASE)
            yield Key(path, commands, of, type_in_words(one), default, text, since)
        if kinds:
            first = next(iter(kinds.values()))
            word = next(key for key in first["properties"] if key in _SHARED_BY_KINDS)
            yield Key(f"{path}.{word}", commands, "", f"one of {', '.join(kinds)}", None, CHOOSES[word], FIRST_RELEASE)
            if "waves" in first["properties"]:
                yield from _walk({"properties": {"waves": first["properties"]["waves"]}}, commands, f"{path}.")
            for kind, choice in kinds.items():
                yield from _walk(choice, commands, f"{path}.", kind)
        else:
            for section in sections:
                yield from _walk(section, commands, f"{path}.")
            items = one.get("items")
            # The keys of a sweep's space are those of the configuration.
            if isinstance(items, dict) and path != "sweep.space":
                for section in _sections(items):
                    yield from _walk(section, commands, f"{path}[].")


def _alternatives(schema: Schema) -> list[Schema]:
    return [schema, *schema.get("anyOf", [])]


def _sections(schema: Schema) -> list[Schema]:
    return [one for one in _alternatives(schema) if "properties" in one]


def _kinds(schema: Schema) -> dict[str, Schema]:
    """Return the schemas of the kinds of a section by their names; empty where its settings depend on none."""
    found: dict[str, Schema] = {}
    for one in _sections(schema):
        for word in ("kind", "rule"):
            if (name := one["properties"].get(word, {}).get("const")) is not None:
                found[name] = one
    return found


def _written(schema: Schema, *, is_section: bool) -> str:
    """Return a default as it is written in a configuration."""
    if "default" not in schema:
        return "" if is_section else "null"
    value = schema["default"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def type_in_words(schema: Schema) -> str:
    """Return what a key takes, such as "whole number from 1 on" or "one of a, b, c"."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        names = [json.dumps(one) if not isinstance(one, str) else one for one in schema["enum"]]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if kinds := _kinds(schema):
        nothing = ", or null" if {"type": "null"} in schema["anyOf"] else ""
        word = next(word for word in ("kind", "rule") if word in next(iter(kinds.values()))["properties"])
        return f"section with a {word} and its settings{nothing}"
    if "anyOf" in schema:
        parts = [type_in_words(one) for one in schema["anyOf"]]
        # A section that is null is as if it was not there.
        words = " or ".join(dict.fromkeys(part for part in parts if part != "null" or "section" not in parts))
        return words + _known(schema)
    kind = schema.get("type", "anything")
    if kind == "array":
        return _list_in_words(schema)
    if kind == "object":
        return "section" if "properties" in schema else "keys and values"
    names_of = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return f"{names_of.get(kind, kind)}{_range(schema)}{_known(schema)}"


def _known(schema: Schema) -> str:
    return f", such as {', '.join(schema['examples'])}" if schema.get("examples") else ""


def _list_in_words(schema: Schema) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        return f"list of {len(items)}, each {' or '.join(dict.fromkeys(map(type_in_words, items)))}"
    return f"list, each {type_in_words(items)}" if items else "list"


def _range(schema: Schema) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    starts = f"from {low:,g}" if low is not None else f"above {above:,g}" if above is not None else ""
    if high is not None and high < _LARGEST:
        shown = f"{int(high) if high == int(high) else high:,}"
        return f" {starts} to {shown}" if starts else f" up to {shown}"
    if high is not None:
        return f" {starts} to 2^63 - 1"
    if below is not None:
        return f" {starts}{', ' if starts else ''}below {below:,g}"
    return f" {starts} on" if low is not None else f" {starts}" if starts else ""
