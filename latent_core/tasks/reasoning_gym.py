"""Problems made by the reasoning-gym package and judged by its own scorers: `reasoning_gym:NAME`.

A scorer judges an answer against the whole problem as the package made it, which is more than question and answer.
The problem is therefore made again where it is judged, from what the grader's name says: data set, seed, size, index.
"""

from functools import lru_cache
from typing import Any

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from latent_core.tasks.base import Problem, Task
from latent_core.tasks.grading import GRADER_FAMILIES, Grader
from latent_core.tasks.loading import TASKS

FAMILY = "reasoning_gym"
SEEDS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
"""Seed of each split. Problem i is drawn from seed + i, so splits share nothing only if their seeds are far apart."""


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
    problems = (
        Problem(
            question_id=f"{member}-{split}-{index}",
            question=str(entry["question"]),
            answer="" if entry["answer"] is None else str(entry["answer"]),
            grader=f"{FAMILY}:{member}:{seed}:{count}:{index}",
        )
        for index, entry in ((index, source[index]) for index in range(count))
    )
    return Task(f"{FAMILY}:{member}/{split}", tuple(problems))


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
        if entry["question"] != question:
            raise UserError(
                f"task {FAMILY}:{member}: its problems differ from process to process; set the environment variable "
                "PYTHONHASHSEED=0 wherever Python is started"
            )
        try:
            return float(source.score_answer(answer, entry)) >= 1.0
        except Exception:  # noqa: BLE001 - scorers parse what they are given, and not all of them expect nonsense
            return False

    return Grader(_stripped, is_correct)


def _stripped(text: str | None) -> str | None:
    return (text or "").strip() or None


TASKS.register(FAMILY, reasoning_gym)
GRADER_FAMILIES.register(FAMILY, _grader)
