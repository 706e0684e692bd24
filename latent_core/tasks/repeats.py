"""Questions that repeat each other, or stand in the train split too: fewer questions than there seem to be."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """How many questions a train split has too.

    Attributes:
        known: Number of questions that it has.
        compared: Number of its questions that were looked at.
        whole: Whether that is all of them.
    """

    known: int
    compared: int
    whole: bool


def count_repeats(questions: Iterable[str]) -> int:
    """Return how many questions say what an earlier one has said, whatever their spacing."""
    seen: set[str] = set()
    repeats = 0
    for question in map(_plain, questions):
        repeats += question in seen
        seen.add(question)
    return repeats


def overlap_with(questions: Sequence[str], train: Iterable[str], seconds: float) -> Overlap:
    """Count the questions that a train split has too.

    Args:
        questions: The questions that are asked.
        train: Those of the train split, which may be made one by one.
        seconds: After this time no further one of them is looked at.
    """
    asked = [_plain(question) for question in questions]
    wanted = set(asked)
    found: set[str] = set()
    compared, until = 0, time.monotonic() + seconds
    for question in train:
        compared += 1
        plain = _plain(question)
        if plain in wanted:
            found.add(plain)
        if time.monotonic() > until:
            return Overlap(sum(one in found for one in asked), compared, whole=False)
    return Overlap(sum(one in found for one in asked), compared, whole=True)


def _plain(question: str) -> str:
    return " ".join(question.split())
