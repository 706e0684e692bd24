"""Options of multiple-choice questions, as data sets hold them and as questions list them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from latent_core.errors import UserError

_LETTERS = "ABCDEFGHIJ"
_OWN_LETTER = re.compile(rf"\(?([{_LETTERS}])[.):]\)?\s+")


def list_options(where: str, value: Any) -> str:
    """Write options below each other, as the `choice` grader reads them: "(A) red", a line each.

    Args:
        where: What messages begin with, such as "task.path set.json: row 3: `choices`".
        value: A list of texts, which may begin with their own letters ("A) red"); a list of objects with `label` and
            `text`; or one object with a list of each.

    Raises:
        UserError: If it is none of these, has fewer than two options or more than ten, or other labels than A, B, ...
    """
    labels, texts = _labels_and_texts(value)
    if texts is None or not 2 <= len(texts) <= len(_LETTERS) or not all(map(_is_text, texts)):
        raise UserError(
            f"{where} holds {str(value)[:60]}, and not 2 to {len(_LETTERS)} options: a list of texts, or of objects "
            "with `label` and `text`"
        )
    letters = _LETTERS[: len(texts)]
    if labels is not None and list(labels) != list(letters):
        raise UserError(f"{where} labels its options {list(labels)}; they are to be {', '.join(letters)}")
    return "\n".join(f"({letter}) {_bare(letter, text)}" for letter, text in zip(letters, texts, strict=True))


def _labels_and_texts(value: Any) -> tuple[Sequence[Any] | None, Sequence[Any] | None]:
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        return (labels, texts) if isinstance(labels, list) and isinstance(texts, list) else (None, None)
    if not isinstance(value, list):
        return None, None
    if all(isinstance(one, Mapping) for one in value):
        return [one.get("label") for one in value], [one.get("text") for one in value]
    return None, value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _bare(letter: str, text: str) -> str:
    """Return an option without the letter that it begins with, if that is its own."""
    own = _OWN_LETTER.match(text)
    return (text[own.end() :] if own is not None and own[1] == letter else text).strip()
