"""Configuration loader of all commands: a YAML file, `key=value` overrides, then validation by the command's schema."""

import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from latent_core.errors import UserError
from latent_core.settings import Settings, explain_validation_error
from orchestrator.console import masked_values
from orchestrator.files import write_yaml

_Config = TypeVar("_Config", bound=Settings)

TASK_SOURCES = ("name", "path", "hub")
"""Settings of a task of which exactly one is given."""
_OF_ONE_TASK_SOURCE = ("hub_config", "columns", "grader", "extractor")


class _TwoValues(yaml.constructor.ConstructorError):
    """A key that is given twice in one mapping."""

    problem: str


class _OneValuePerKey(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys: YAML forbids them, and PyYAML silently keeps the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            line, earlier = key.start_mark.line + 1, first.get((key.tag, key.value))
            if earlier is not None:
                raise _TwoValues(
                    problem=f"line {line}: the key {key.value!r} is given twice (first in line {earlier}); drop one"
                )
            first[key.tag, key.value] = line
        return super().construct_mapping(node, deep)


def load_config(schema: type[_Config], path: str | Path, overrides: Sequence[str] = ()) -> _Config:
    """Read a YAML file and apply `key=value` overrides from left to right.

    Raises:
        UserError: If the file or an override cannot be read, or the result is not a valid configuration.
    """
    return parse_config(schema, with_overrides(read_yaml(path), [parse_override(text) for text in overrides]))


def parse_config(schema: type[_Config], raw: Mapping[str, Any]) -> _Config:
    """Validate plain data.

    Raises:
        UserError: With one line about the first problem.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise UserError(explain_validation_error(error, schema)) from None


def save_config(config: Settings, path: Path) -> None:
    """Write the resolved configuration; loading it again gives an equal one, but for the passwords in its URIs."""
    write_yaml(path, masked_values(config.model_dump(mode="json")))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: If it is missing, is not YAML, or holds something else.
    """
    file = Path(path)
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [found.name for found in file.parent.glob("*.yaml")], n=1)
        raise UserError(f"config {path}: no such file" + (f"; did you mean {file.parent / near[0]}?" if near else ""))
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _OneValuePerKey)
    except _TwoValues as error:
        raise UserError(f"config {path}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config {path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"config {path}: expected keys and values, found {type(content).__name__}")
    return content


def parse_override(text: str) -> tuple[str, Any]:
    """Split "key=value"; the value is read as YAML.

    Raises:
        UserError: If it has no "=".
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"override {text!r}: expected key=value, such as sampler.kind=gaussian")
    try:
        return key.strip(), yaml.load(value, _OneValuePerKey)
    except _TwoValues as error:
        raise UserError(f"override {text!r}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"override {text!r}: the value is not valid YAML") from error


def with_overrides(raw: Mapping[str, Any], overrides: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return plain data with dotted keys set.

    Setting `sampler.kind` to another value drops the other settings of the sampler, which belonged to the former kind;
    so does setting one of `task.name`, `task.path` and `task.hub` over another, with what described its data, unless an
    override gives that too.

    Raises:
        UserError: If a key leads through something that has no keys.
    """
    result = copy.deepcopy(dict(raw))
    given = {tuple(key.split(".")[:2]) for key, _ in overrides}
    for key, value in overrides:
        *path, last = key.split(".")
        place = result
        for part in path:
            if place.get(part) is None:  # As resolved configurations spell what is not set.
                place[part] = {}
            place = place[part]
            if not isinstance(place, dict):
                raise UserError(f"override {key}: {part!r} holds a value, not keys")
        if path == ["sampler"] and last == "kind" and place.get("kind") != value:
            place.clear()
        if path == ["task"] and last in TASK_SOURCES and value is not None:
            _drop_other_source(place, last, given)
        place[last] = value
    return result


def _drop_other_source(task: dict[str, Any], source: str, given: set[tuple[str, ...]]) -> None:
    former = [key for key in TASK_SOURCES if key != source and task.pop(key, None) is not None]
    for key in _OF_ONE_TASK_SOURCE:
        if former and ("task", key) not in given:
            task.pop(key, None)
