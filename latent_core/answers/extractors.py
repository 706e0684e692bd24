"""Where in generated text the answer stands: extractors, found by name.

An extractor takes the decoded text after the latent steps and returns the piece that holds the answer, or None. What
that piece is worth is for a grader to say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from latent_core.errors import UserError
from latent_core.plugins import load_entry_points
from latent_core.registry import nearest_hint


@dataclass(frozen=True)
class Extractor:
    """Finds the answer in a text.

    Attributes:
        find: Takes the text and returns the piece that holds the answer, or None.
        written: How a model that is read this way writes an answer, with `{answer}` in it. What comes out of a
            reference written like this shows whether extractor and grader can agree.
        version: Goes up when the same text gives another piece.
    """

    find: Callable[[str], str | None]
    written: str
    version: int = 1

    def __call__(self, text: str) -> str | None:
        """Return the piece of the text that holds the answer, or None."""
        return self.find(text)

    def of_reference(self, answer: str) -> str | None:
        """Return what is found of an answer that a model has written as it was trained to."""
        return self.find(self.written.replace("{answer}", answer))


# Released: what these three return for a text is what published numbers were counted with, and stays as it is.
_UNSIGNED = r"(?:[0-9]+(?:,[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
# With a further decimal point it is no number at all, and must not be taken for its last part.
_RUN = re.compile(rf"[-+]?\$?{_UNSIGNED}(?:\s?/\s?{_UNSIGNED})?(?:\.[0-9]+)*")
_MINUS = str.maketrans({"\u2212": "-", "\ufe63": "-", "\uff0d": "-"})


def after_last_hash(text: str) -> str | None:
    """Return what follows the last "#", the format of COCONUT checkpoints; None without a "#"."""
    _, mark, tail = text.rpartition("#")
    return tail.strip() if mark else None


def last_number(text: str) -> str | None:
    """Return the last number in the text, the format of CODI checkpoints; None without a number."""
    numbers = _RUN.findall(text.translate(_MINUS))
    return numbers[-1].replace("$", "") if numbers else None


def after_answer_marker(text: str) -> str | None:
    """Return what follows the last "Answer:" without "#" around it, the format of CoLaR checkpoints; None without."""
    _, mark, tail = text.rpartition("Answer:")
    return tail.strip().strip("#").strip() if mark else None


_THE_ANSWER_IS = re.compile(r"\bthe\s+(?:final\s+|correct\s+)?answer\s+is\b[ \t]*:?", re.IGNORECASE)
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def after_the_answer_is(text: str) -> str | None:
    """Return what follows the last "The answer is", in any case, with or without a colon, to the end of its line."""
    *_, last = [None, *_THE_ANSWER_IS.finditer(text)]
    if last is None:
        return None
    line, _, _ = text[last.end() :].lstrip().partition("\n")
    return line.strip() or None


def boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}` or `\fbox{...}`; None without one, or where it is not closed."""
    *_, last = [None, *_BOX.finditer(text)]
    if last is None:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, last.end()):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[last.end() : brace.start()].strip() or None
    return None


def whole_text(text: str) -> str | None:
    """Return the whole answer without blanks around it; None where nothing is left."""
    return text.strip() or None


EXTRACTORS: Final[dict[str, Extractor]] = {
    "after_last_hash": Extractor(after_last_hash, "### {answer}"),
    "last_number": Extractor(last_number, "The answer is: {answer}"),
    "after_answer_marker": Extractor(after_answer_marker, "Answer: {answer}###"),
    "after_the_answer_is": Extractor(after_the_answer_is, "The answer is: {answer}"),
    "boxed": Extractor(boxed, r"\boxed{{answer}}"),
    "text": Extractor(whole_text, "{answer}"),
}


def is_extractor(name: str) -> bool:
    """Whether there is an extractor of that name; plugins add theirs to `EXTRACTORS`."""
    if name not in EXTRACTORS:
        load_entry_points("extractors")
    return name in EXTRACTORS


def find_extractor(name: str) -> Extractor:
    """Return the extractor of that name.

    Raises:
        UserError: If there is none; the message names the nearest one.
    """
    if not is_extractor(name):
        raise UserError(f"task.extractor: unknown extractor {name!r}: {nearest_hint(name, list(EXTRACTORS))}")
    return EXTRACTORS[name]
