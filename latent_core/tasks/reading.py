"""Reading: from stored or written texts to canonical answers and whether they are right. No model is needed."""

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from latent_core.answers.extractors import find_extractor
from latent_core.answers.grading import GRADER_FAMILIES, GRADERS, find_grader
from latent_core.code_identity import code_of, defining_modules
from latent_core.tasks.base import Problem


def read_answers(
    texts: Sequence[str], problems: Sequence[Problem], own: Callable[[str], str | None]
) -> tuple[list[str | None], list[bool]]:
    """Read and judge answers; what a question has been answered several times is read once.

    Args:
        texts: Decoded texts, one per row.
        problems: The question of each row.
        own: The reasoner's own extractor, for questions that name none.

    Returns:
        The canonical answers, None where there is none, and whether they are right.
    """
    known: dict[tuple[str, str], tuple[str | None, bool]] = {}
    for text, problem in zip(texts, problems, strict=True):
        if (problem.question_id, text) not in known:
            answer = problem.canonical(problem.extract(text, own))
            known[problem.question_id, text] = answer, problem.is_correct(answer)
    read = [known[problem.question_id, text] for text, problem in zip(texts, problems, strict=True)]
    return [answer for answer, _ in read], [correct for _, correct in read]


def reading_of(extractor: str, graders: Iterable[str], chosen: bool = False) -> dict[str, Any]:
    """Say how stored texts are read, as far as it is not as it always was; empty where it is.

    Args:
        extractor: Name of the extractor.
        graders: Names of the graders of the questions.
        chosen: Whether the extractor is another one than the checkpoint's own.

    Returns:
        Plain data for `TrajectorySpec.reading`.

    Raises:
        UserError: If the source of one that is not as it was shipped cannot be read.
    """
    own = extractor_code(extractor)
    # Of a family, one grader says what all of them are.
    judged = {name.partition(":")[0]: name for name in sorted(set(graders))}
    reading = {
        "extractor": ({"name": extractor} if chosen else {}) | own,
        "graders": {known: code for known, name in judged.items() if (code := grader_code(name))},
    }
    return {part: content for part, content in reading.items() if content}


def extractor_code(name: str) -> dict[str, Any]:
    """Return what `code_of` says of an extractor."""
    extractor = find_extractor(name)
    return code_of(f"extractor {name!r}", defining_modules(extractor.find), extractor.version)


def grader_code(name: str) -> dict[str, Any]:
    """Return what `code_of` says of a grader, and the releases of the libraries that judge with it.

    All graders of a family are one code.

    Raises:
        UserError: If the source of one that is not as it was shipped cannot be read.
    """
    family, colon, _ = name.partition(":")
    grader = find_grader(name)
    code = GRADER_FAMILIES.code(family, grader.version) if colon else GRADERS.code(name, grader.version)
    return code | ({"libraries": {one: _release(one) for one in grader.libraries}} if grader.libraries else {})


def _release(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"
