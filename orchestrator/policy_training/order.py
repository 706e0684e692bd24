"""Order of training questions, and the seeds of updates: functions of the seed alone."""

import hashlib
import itertools
import random
from collections.abc import Sequence

from latent_core.tasks.base import Problem
from orchestrator.config.types import MAX_SEED


class QuestionOrder:
    """Which questions each update takes: epoch by epoch in an order of its own, no question twice in an update."""

    def __init__(self, problems: Sequence[Problem], seed: int, per_update: int) -> None:
        """Take the questions.

        Args:
            problems: At least as many as an update takes.
            seed: Seed of the order.
            per_update: Questions of an update.
        """
        self._problems, self._seed, self._per_update = problems, seed, per_update
        # What does not fill an update is left out of its epoch, and comes early in another one.
        self._updates = len(problems) // per_update
        self._epoch, self._order = -1, list[int]()

    def questions(self, update: int) -> tuple[Problem, ...]:
        """Return the questions of an update, 0-based."""
        epoch, place = divmod(update, self._updates)
        if epoch != self._epoch:
            self._order = list(range(len(self._problems)))
            random.Random(f"questions {self._seed} {epoch}").shuffle(self._order)
            self._epoch = epoch
        first = place * self._per_update
        return tuple(self._problems[index] for index in self._order[first : first + self._per_update])


def seed_of(seed: int, update: int | str) -> int:
    """Return the seed of the draws of an update, or of something else that has a name."""
    text = f"policy {seed} {update}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % MAX_SEED


def parts_of(problems: Sequence[Problem], number: int) -> list[tuple[Problem, ...]]:
    """Cut questions into so many parts of neighbours, as equal as can be; fewer where there are fewer questions."""
    number = min(number, len(problems))
    bounds = [len(problems) * index // number for index in range(number + 1)]
    return [tuple(problems[first:end]) for first, end in itertools.pairwise(bounds)]
