"""Values in `config.json` of the wrong type or out of range: what no class of transformers looks at until it breaks."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from latent_core.errors import UserError

_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "latent_steps",
)
"""Keys that are whole numbers from 1 on wherever they are, under the names that every configuration answers to."""
_ROPE_KEYS = ("rope_parameters", "rope_scaling")
_ROPE_TEXTS = ("rope_type", "type")


def named_architectures(source: str, raw: Mapping[str, Any]) -> list[str]:
    """Return the class names under `architectures`, none where there are none.

    Raises:
        UserError: If it is no list of texts.
    """
    named = raw.get("architectures")
    if not named:
        return []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise _wrong(source, "architectures", named, "a list of class names")
    return list(named)


def check_raw_values(source: str, raw: Mapping[str, Any]) -> None:
    """Look at what `config.json` says before any class of transformers does.

    Raises:
        UserError: If a number is none, the types of weights or model are no text, or the rotary embedding is described
            by something else than numbers.
    """
    for path, value in _numbers(raw):
        if not math.isfinite(value):
            raise _wrong(source, path, value, "a finite number")
    for key in ("dtype", "torch_dtype"):
        if not isinstance(raw.get(key), str | None):
            raise _wrong(source, key, raw[key], "the name of a type, such as float32")
    if not isinstance(raw.get("model_type"), str | None):
        raise _wrong(source, "model_type", raw["model_type"], "the name of an architecture")
    if "rope_theta" in raw:
        _check_rope(source, "rope_theta", raw["rope_theta"])
    for key in _ROPE_KEYS:
        if not isinstance(raw.get(key), Mapping | None):
            raise _wrong(source, key, raw[key], "a mapping")
        for name, value in (raw.get(key) or {}).items():
            _check_rope(source, f"{key}.{name}", value)


def check_sizes(source: str, raw: Mapping[str, Any], own_names: Mapping[str, str]) -> None:
    """Look at the sizes in `config.json`; those that are left out have defaults, or their class asks for them.

    Args:
        source: What the user named.
        raw: The content.
        own_names: Under which names the architecture knows sizes, by their common ones.

    Raises:
        UserError: If one is no whole number from 1 on.
    """
    for key in (*_SIZES, *(own_names[size] for size in _SIZES if size in own_names)):
        value = raw.get(key)
        # Some architectures have a size of its own in every layer.
        for one in value if isinstance(value, list) else [value]:
            if one is not None and (not isinstance(one, int) or isinstance(one, bool) or one < 1):
                raise _wrong(source, key, value, "a whole number from 1 on")


def _check_rope(source: str, path: str, value: Any) -> None:
    """Check a setting of the rotary embedding; some architectures have one mapping for every type of layer."""
    name = path.rpartition(".")[2]
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_rope(source, f"{path}.{key}", inner)
    elif name in _ROPE_TEXTS:
        if not isinstance(value, str | None):
            raise _wrong(source, path, value, "the name of a rotary embedding")
    elif name.startswith("rope_theta"):
        if value is not None and not (_is_number(value) and value > 0):
            raise _wrong(source, path, value, "a number above 0")
    elif not all(isinstance(one, bool) or _is_number(one) for one in _elements(value)):
        raise _wrong(source, path, value, "a number")


def _elements(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Go through all numbers of nested settings, with where they stand."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, path)
    elif isinstance(value, float):
        yield path, value


def _wrong(source: str, key: str, value: Any, wanted: str) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return UserError(f"checkpoint {source}: {key} in config.json is {shown}, and has to be {wanted}")
