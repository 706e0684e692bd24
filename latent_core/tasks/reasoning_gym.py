"""Problems made by the reasoning-gym package and judged by its own scorers: `reasoning_gym:NAME`.

A scorer judges an answer against the whole problem as the package made it, which is more than question and answer.
The problem is therefore made again where it is judged, from what the grader's name says: data set, seed, size, index.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from latent_core.answers.grading import GRADER_FAMILIES, Grader
from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from latent_core.tasks.base import Problem, Task
from latent_core.tasks.loading import TASKS

FAMILY = "reasoning_gym"
_DISTRIBUTION = "reasoning-gym"
SEEDS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
"""Seed of each split. Problem i is drawn from seed + i, so splits share nothing only if their seeds are far apart."""


_FIXED_SEEDS = "1", "0"
"""Of Python's hashes: one for a second process that should not share the first one's, and the one that users set."""
_COMPARED_SIZES = 16
"""Problems of a data set of another size that are compared."""


def reasoning_gym(split: str = "test", count: int = 500, member: str = "") -> Task:
    """Make problems of one of the package's data sets, in its default difficulty.

    Args:
        split: Which seed to draw with.
        count: Number of problems.
        member: Name of the data set within the package.

    Raises:
        UserError: If the package is not installed, the data set or the split is unknown, or it cannot be made.
    """
    if split not in SEEDS:
        raise UserError(f"task {FAMILY}:{member}: unknown split {split!r}; use one of {', '.join(SEEDS)}")
    seed = SEEDS[split]
    source = _source(member, seed, count)
    problems = tuple(
        Problem(
            question_id=f"{member}-{split}-{index}",
            question=str(entry["question"]),
            answer=_reference(entry),
            grader=f"{FAMILY}:{member}:{seed}:{count}:{index}",
        )
        for index, entry in ((index, source[index]) for index in range(count))
    )
    own = [_digest(problem.question, problem.answer) for problem in problems]
    return Task(
        f"{FAMILY}:{member}/{split}",
        problems,
        train_questions=None if split == "train" else partial(_questions, member, SEEDS["train"], count),
        recheck=partial(_recheck, member, seed, count, own),
    )


def _questions(member: str, seed: int, count: int) -> Iterator[str]:
    """Draw the questions of a split one by one."""
    source = _source(member, seed, count)
    return (str(source[index]["question"]) for index in range(count))


def _digest(question: str, reference: str) -> str:
    return hashlib.blake2b(json.dumps([question, reference]).encode(), digest_size=8).hexdigest()


def _digests(member: str, seed: int, count: int, first: int) -> list[str]:
    """Return a hash of each of the first problems of a data set, question and reference."""
    source = _source(member, seed, count)
    entries = (source[index] for index in range(first))
    return [_digest(str(entry["question"]), _reference(entry)) for entry in entries]


def print_digests(member: str, seed: int, count: int) -> None:
    """Print the hashes of a data set's problems, and of its first ones if it were twice as large, as JSON."""
    # The package prints too, here and there.
    with contextlib.redirect_stdout(sys.stderr):
        found = [_digests(member, seed, count, count), _digests(member, seed, 2 * count, min(count, _COMPARED_SIZES))]
    print(json.dumps(found))  # noqa: T201 - this is what the other process reads


def _recheck(member: str, seed: int, count: int, own: Sequence[str]) -> list[str]:
    """Ask another process for the same problems, and for those of a data set of another size.

    Actors make problems again to judge answers, and what is stored is found again by questions and references: neither
    works where they differ from process to process.

    Raises:
        UserError: If they do, or the package cannot make them there.
    """
    given = os.environ.get("PYTHONHASHSEED", "random")
    again, larger = _elsewhere(member, seed, count, _FIXED_SEEDS[0] if given == "random" else given)
    differ = sum(one != other for one, other in zip(own, again, strict=True))
    if differ:
        cured = given == "random" and (
            _elsewhere(member, seed, count, _FIXED_SEEDS[1]) == _elsewhere(member, seed, count, _FIXED_SEEDS[1])
        )
        raise UserError(
            f"task {FAMILY}:{member}: {differ} of its {count} questions or references differ from process to process; "
            + (_SET_HASH_SEED if cured else "it cannot be judged, nor found again in a store; choose another")
        )
    if larger != list(own[:_COMPARED_SIZES]):
        return ["its questions depend on task.count: results with another count are about other questions"]
    return []


_SET_HASH_SEED = "set the environment variable PYTHONHASHSEED=0 wherever Python is started"


def _elsewhere(member: str, seed: int, count: int, hash_seed: str) -> list[list[str]]:
    """Return what `print_digests` prints in another process."""
    program = (
        "import sys; from latent_core.tasks.reasoning_gym import print_digests; "
        "print_digests(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, member, str(seed), str(count)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        raise UserError(f"task {FAMILY}:{member}: another process cannot make it: {reason}")
    found: list[list[str]] = json.loads(done.stdout)
    return found


def _reference(entry: Any) -> str:
    return "" if entry["answer"] is None else str(entry["answer"])


@lru_cache(maxsize=8)
def _source(member: str, seed: int, count: int) -> Any:
    """Return a data set of the package."""
    try:
        from reasoning_gym import create_dataset
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise UserError(
            f"task {FAMILY}:{member}: the reasoning-gym package cannot be imported ({error}); "
            "run `pip install 'latentswarm[reasoning]'`"
        ) from error
    if member not in DATASETS:
        raise UserError(f"task {FAMILY}:{member}: no such data set: {nearest_hint(member, list(DATASETS))}")
    try:
        return create_dataset(member, seed=seed, size=count)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"task {FAMILY}:{member}: the package cannot make it: {reason}") from error


@lru_cache(maxsize=4096)
def _grader(argument: str) -> Grader:
    """Return the grader of one problem."""
    member, seed, count, index = argument.split(":")
    source = _source(member, int(seed), int(count))
    entry = source[int(index)]

    def is_correct(question: str, reference: str, answer: str) -> bool:
        if entry["question"] != question or _reference(entry) != reference:
            raise UserError(f"task {FAMILY}:{member}: its problems differ from process to process; {_SET_HASH_SEED}")
        try:
            return float(source.score_answer(answer, entry)) >= 1.0
        except Exception:  # noqa: BLE001 - scorers parse what they are given, and not all of them expect nonsense
            return False

    return Grader(_stripped, is_correct, libraries=(_DISTRIBUTION,))


def _stripped(text: str | None) -> str | None:
    return (text or "").strip() or None


TASKS.register(FAMILY, reasoning_gym)
GRADER_FAMILIES.register(FAMILY, _grader)
