"""Configuration loader of all commands: a YAML file, `key=value` overrides, then validation by the command's schema."""

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from latent_core.errors import UserError
from latent_core.plugins import load_plugins
from latent_core.settings import Settings, explain_validation_error
from orchestrator.config.paths import check_path, has_lone_surrogate
from orchestrator.console import masked_values
from orchestrator.files import write_yaml

_Config = TypeVar("_Config", bound=Settings)

TASK_SOURCES = ("name", "path", "hub")
"""Settings of a task of which exactly one is given."""
_OF_ONE_TASK_SOURCE = ("hub_config", "columns", "grader", "extractor")


_DEEPEST = 50
_TOO_DEEP = "lists or keys within each other, hundreds deep, which no configuration has"
_BITS = 63


class _Ambiguous(yaml.constructor.ConstructorError):
    """What YAML reads in another way than people do; the problem is said in a line."""

    problem: str


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that refuses what it would read in another way than it looks.

    YAML forbids duplicate keys, and PyYAML silently keeps the last value. In YAML 1.1 010 is 8, and 1:30 is 90.
    """

    def construct_plain_number(self, node: yaml.ScalarNode) -> int | float:
        """Read a number, whole or not."""
        text, where = str(self.construct_scalar(node)), f"line {node.start_mark.line + 1}"
        shown = text if len(text) <= _DEEPEST else f"a number of {len(text):,} letters"
        if ":" in text:
            raise _Ambiguous(problem=f"{where}: {shown} is a number to the base of 60 in YAML; write it in full")
        whole = node.tag == "tag:yaml.org,2002:int"
        try:
            if whole and re.fullmatch(r"[-+]?0[0-7_]+", text) and (octal := int(text, 8)) != int(text):
                raise _Ambiguous(problem=f"{where}: {shown} is {octal} in YAML; write {octal} or {int(text)}")
            number: int | float = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        except ValueError:
            raise _Ambiguous(problem=f"{where}: {shown} is none that can be read") from None
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            line, earlier = key.start_mark.line + 1, first.get((key.tag, key.value))
            if earlier is not None:
                raise _Ambiguous(
                    problem=f"line {line}: the key {key.value!r} is given twice (first in line {earlier}); drop one"
                )
            first[key.tag, key.value] = line
        return super().construct_mapping(node, deep)


for _tag in ("int", "float"):
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _PlainLoader.construct_plain_number)


def load_config(schema: type[_Config], path: str | Path, overrides: Sequence[str] = ()) -> _Config:
    """Read a YAML file and apply `key=value` overrides from left to right.

    Raises:
        UserError: If the file or an override cannot be read, or the result is not a valid configuration.
    """
    raw = read_yaml(path)
    given = [parse_override(text) for text in overrides]
    for key, value in [*raw.items(), *given]:
        _check_values(str(key), value)
    return parse_config(schema, with_overrides(raw, given))


def parse_config(schema: type[_Config], raw: Mapping[str, Any]) -> _Config:
    """Validate plain data.

    Raises:
        UserError: With one line about the first problem.
    """
    if "plugins" in schema.model_fields:
        # What the rest of a configuration names may be theirs.
        load_plugins(raw.get("plugins") or [])
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
    try:
        check_path(str(path))
    except ValueError as error:
        raise UserError(f"config {path}: {error}") from None
    file = Path(path)
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [found.name for found in file.parent.glob("*.yaml")], n=1)
        raise UserError(f"config {path}: no such file" + (f"; did you mean {file.parent / near[0]}?" if near else ""))
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _PlainLoader)
    except _Ambiguous as error:
        raise UserError(f"config {path}: {error.problem}") from None
    except RecursionError:
        raise UserError(f"config {path}: {_TOO_DEEP}") from None
    except OSError as error:
        raise UserError(f"config {path}: cannot be read: {error}") from error
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
        return key.strip(), yaml.load(value, _PlainLoader)
    except _Ambiguous as error:
        raise UserError(f"override {_start(text)}: {error.problem}") from None
    except RecursionError:
        raise UserError(f"override {_start(text)}: {_TOO_DEEP}") from None
    except yaml.YAMLError as error:
        raise UserError(f"override {_start(text)}: the value is not valid YAML") from error


def with_overrides(raw: Mapping[str, Any], overrides: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return plain data with dotted keys set.

    Setting `sampler.kind` to another value drops the other settings of the sampler, which belonged to the former kind,
    and setting `budget.rule` those of the rule;
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
        if path == ["budget"] and last == "rule" and place.get("rule", value) != value:
            # The waves are everybody's.
            _keep_only(place, "waves")
        if path == ["task"] and last in TASK_SOURCES and value is not None:
            _drop_other_source(place, last, given)
        place[last] = value
    return result


def _keep_only(place: dict[str, Any], key: str) -> None:
    for other in [other for other in place if other != key]:
        del place[other]


def _start(text: str) -> str:
    return repr(text if len(text) <= 2 * _DEEPEST else f"{text[: 2 * _DEEPEST]}...")


def _check_values(where: str, value: Any, depth: int = 0) -> None:
    """Refuse what no file, no table and no tracking server takes, wherever it stands in a configuration.

    Raises:
        UserError: With the key.
    """
    if depth > _DEEPEST:
        raise UserError(f"{where.partition('.')[0]}: {_TOO_DEEP}")
    if has_lone_surrogate(where) or (isinstance(value, str) and has_lone_surrogate(value)):
        raise UserError(f"{where!r}: half of a surrogate pair or a byte that is no UTF-8 in {_start(str(value))}")
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise UserError(f"{where}: a number of {value.bit_length():,} bits; at most {_BITS} are used")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(f"{where}.{key}", inner, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_values(f"{where}.{index}", inner, depth + 1)


def _drop_other_source(task: dict[str, Any], source: str, given: set[tuple[str, ...]]) -> None:
    former = [key for key in TASK_SOURCES if key != source and task.pop(key, None) is not None]
    for key in _OF_ONE_TASK_SOURCE:
        if former and ("task", key) not in given:
            task.pop(key, None)
