"""Messages about wrong settings: one line, with the place and the cure."""

import pytest
from pydantic import Field, ValidationError

from latent_core.settings import Settings, explain_validation_error


class Inner(Settings):
    width: int = Field(default=1, ge=1)
    names: tuple[str, ...] = ()


class Outer(Settings):
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    maybe: Inner | None = None
    needed: float


def explain(content: dict[str, object], root: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return explain_validation_error(caught.value, Outer, root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"needed": 1, "iner": {}}, "unknown key 'iner': did you mean 'inner'?"),
        ({"needed": 1, "inner": {"widht": 2}}, "unknown key 'inner.widht': did you mean 'width'?"),
        ({"needed": 1, "several": [{}, {"widht": 2}]}, "unknown key 'several.1.widht': did you mean 'width'?"),
        ({"needed": 1, "maybe": {"widht": 2}}, "unknown key 'maybe.widht': did you mean 'width'?"),
        ({"needed": 1, "inner": {"zzz": 2}}, "unknown key 'inner.zzz': known: names, width"),
        ({}, "needed: missing, and it has no default"),
        ({"needed": "x"}, "needed: input should be a valid number, unable to parse string as a number (got 'x')"),
        ({"needed": float("nan")}, "needed: input should be a finite number (got nan)"),
        ({"needed": 1, "inner": {"width": 0}}, "inner.width: input should be greater than or equal to 1 (got 0)"),
    ],
)
def test_the_message_names_place_and_cure(content: dict[str, object], message: str) -> None:
    assert explain(content) == message


def test_further_problems_are_counted() -> None:
    assert explain({"needed": 1, "a": 1, "b": 2}).endswith(" (and 1 more problem)")
    assert explain({"a": 1, "b": 2}).endswith(" (and 2 more problems)")


def test_the_root_is_put_in_front() -> None:
    assert explain({"needed": 1, "inner": {"widht": 2}}, root="model").startswith("unknown key 'model.inner.widht'")


def test_settings_do_not_change() -> None:
    settings = Inner()
    with pytest.raises(ValidationError, match="frozen"):
        settings.width = 2  # type: ignore[misc]
