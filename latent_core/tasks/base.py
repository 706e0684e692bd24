"""What a benchmark is: an ordered list of problems with one fingerprint."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from latent_core.tasks.answers import canonical_answer


@dataclass(frozen=True)
class Problem:
    """One question of a benchmark.

    Attributes:
        question_id: Stable name within the task; every random draw for this question is keyed by it.
        question: The text that goes into the prompt.
        answer: The reference answer as the data set spells it.
        steps: The reference reasoning steps, possibly empty.
    """

    question_id: str
    question: str
    answer: str
    steps: tuple[str, ...] = ()

    def is_correct(self, answer: str | None) -> bool:
        """Whether a canonical answer equals the reference; None (unparsable) is wrong."""
        return answer is not None and answer == canonical_answer(self.answer)


@dataclass(frozen=True)
class Task:
    """A named, ordered set of problems.

    Attributes:
        name: What tables and runs call it.
        problems: All problems in their fixed order.
        guess_weights: Probability of each canonical answer for somebody who answers without reading the question
            (the marginal distribution on the training side), or None where it is unknown.
    """

    name: str
    problems: Sequence[Problem]
    guess_weights: dict[str, float] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all questions, answers and their order (16 hexadecimal digits)."""
        digest = hashlib.blake2b(digest_size=8)
        for problem in self.problems:
            digest.update(json.dumps([problem.question_id, problem.question, problem.answer]).encode())
        return digest.hexdigest()
