"""What a benchmark is: an ordered list of problems with one fingerprint."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from latent_core.answers.extractors import find_extractor
from latent_core.answers.grading import NUMERIC, find_grader


@dataclass(frozen=True)
class Problem:
    """One question of a benchmark.

    Attributes:
        question_id: Stable name within the task; every random draw for this question is keyed by it.
        question: The text that goes into the prompt.
        answer: The reference answer as the data set spells it.
        steps: The reference reasoning steps, possibly empty.
        grader: Name of the grader that reads and judges answers.
        extractor: Name of the extractor that finds the answer in generated text; None for that of the checkpoint.
    """

    question_id: str
    question: str
    answer: str
    steps: tuple[str, ...] = ()
    grader: str = NUMERIC
    extractor: str | None = None

    def canonical(self, text: str | None) -> str | None:
        """Bring an answer into its one spelling; None where it cannot be read."""
        return find_grader(self.grader).read(self.question, text)

    def extract(self, text: str, own: Callable[[str], str | None]) -> str | None:
        """Return the piece of generated text that holds the answer, or None.

        Args:
            text: What the model has written behind its latent steps.
            own: The extractor of the checkpoint that has written it, for a problem that names none.
        """
        return (own if self.extractor is None else find_extractor(self.extractor))(text)

    def is_correct(self, answer: str | None) -> bool:
        """Whether a canonical answer is right; None (unparsable) is wrong."""
        return answer is not None and find_grader(self.grader).is_correct(self.question, self.answer, answer)


@dataclass(frozen=True)
class Task:
    """A named, ordered set of problems.

    Attributes:
        name: What tables and runs call it.
        problems: All problems in their fixed order.
        guess_chances: Probability, per problem, that one guess made without understanding the question is right, or
            None where it is unknown.
        train_questions: Gives the questions of the train split, where there is one and this is another. Questions that
            stand there too were seen in training, if anybody trained on it. It may take long, and raises UserError
            where they cannot be had.
        recheck: Asks an outside package that has made the task whether it makes the same again; returns what is worth
            knowing, and raises UserError where it does not.

    Raises:
        ValueError: If there is not one chance per problem.
    """

    name: str
    problems: Sequence[Problem]
    guess_chances: tuple[float, ...] | None = None
    train_questions: Callable[[], Iterable[str]] | None = field(default=None, compare=False)
    recheck: Callable[[], Sequence[str]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.guess_chances is not None and len(self.guess_chances) != len(self.problems):
            raise ValueError(f"{len(self.guess_chances)} guess_chances for {len(self.problems)} problems")

    def head(self, limit: int | None) -> "Task":
        """Return the task with its first `limit` problems only (None: all of them)."""
        chances = None if self.guess_chances is None else self.guess_chances[:limit]
        return replace(self, problems=self.problems[:limit], guess_chances=chances)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all questions, answers, graders and their order (16 hexadecimal digits)."""
        digest = hashlib.blake2b(digest_size=8)
        for problem in self.problems:
            identity = [problem.question_id, problem.question, problem.answer]
            if problem.grader != NUMERIC:  # Left out where it says nothing, as in stores that are older than graders.
                identity.append(problem.grader)
            digest.update(json.dumps(identity).encode())
        return digest.hexdigest()


def questions_of(task: Task) -> list[str]:
    """Return the questions of a task, in order."""
    return [problem.question for problem in task.problems]
