"""Strict, immutable settings: the base class of everything that can be configured, and its error messages."""

import json
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latent_core.registry import nearest_hint

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """A pydantic model that refuses unknown keys and cannot be changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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
        message = f"{where}: {text[:1].lower()}{text[1:]} (got {first['input']!r})"
    more = len(problems) - 1
    return message + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


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
