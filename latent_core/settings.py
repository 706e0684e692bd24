"""Strict, immutable settings: the base class of everything that can be configured, and its error messages."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latent_core.registry import nearest_hint

Share = Annotated[float, Field(ge=0, lt=1)]


_LONGEST_SHOWN = 200


class Settings(BaseModel):
    """A pydantic model that refuses unknown keys and cannot be changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        """Let a section that is null, or a key of YAML with nothing behind it, be as if it was not there."""
        if not isinstance(data, Mapping) or None not in data.values():
            return data
        empty = {key for key, value in data.items() if value is None and key in cls.model_fields}
        sections = {key for key in empty if isinstance(cls.model_fields[key].default, Settings)}
        return {key: value for key, value in data.items() if key not in sections}


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, as `object_pairs_hook`; two values under one name leave it open which is meant.

    Raises:
        ValueError: If a name stands twice with different values.
    """
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content and content[name] != value:
            raise ValueError(f"an object has the key {name!r} twice: {json.dumps(pairs[0][1])[:60]}, ...")
        content[name] = value
    return content


def explain_validation_error(error: ValidationError, model: type[BaseModel], root: str = "", owner: str = "") -> str:
    """Turn a pydantic error into one line that says what is wrong, where, and how to cure it.

    Args:
        error: What validation raised; one problem is explained, unknown keys first, and the others are counted.
        model: The model that was validated, for the names of known keys.
        root: Prefix of the keys in the message, such as "sampler".
        owner: Whose keys they are, appended to "unknown key", such as " of sampler 'gaussian'".
    """
    # A misspelt key often leaves another one missing: naming the misspelling cures both.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(([root] if root else []) + path)
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        message = f"unknown key {where!r}{owner}: {nearest_hint(path[-1], known)}"
    elif first["type"] == "missing":
        message = f"{where}: missing, and it has no default"
    else:
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error" and isinstance(first["input"], Mapping):
            text += ", a word alone; settings of it are keys of their own"
        message = f"{where}: {text[:1].lower()}{text[1:]} (got {_shown(first['input'])})"
    more = len(problems) - 1
    return message + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


def _shown(value: object) -> str:
    """Return a value as Python writes it, as far as that fits into a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits.
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... of {len(text):,} letters"


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys of the model that a path of keys and list positions leads to; none where it leads nowhere."""
    for part in path:
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        nested = _nested_model(field.annotation) if field else None
        if nested is None:
            return []
        model = nested
    return list(model.model_fields)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _nested_model(part)) is not None), None)
