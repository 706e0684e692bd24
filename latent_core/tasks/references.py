"""Reference answers that no answer can meet: counted before anything is sampled."""

from dataclasses import dataclass

from latent_core.answers.extractors import find_extractor
from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task


@dataclass(frozen=True)
class ReferenceCounts:
    """How many reference answers of a task can be met.

    Attributes:
        questions: Number of questions.
        unreadable: References that their grader cannot read: no answer to these questions is ever right.
        unreadable_example: One of them, as "question ID: 'REFERENCE'"; empty where there are none.
        unreachable: References that the grader reads, and that the extractor does not bring out of an answer that says
            just that: words, where it looks for numbers.
        unreachable_example: One of them.
    """

    questions: int = 0
    unreadable: int = 0
    unreadable_example: str = ""
    unreachable: int = 0
    unreachable_example: str = ""

    def lines(self) -> list[str]:
        """Say in a sentence each what is wrong, if anything is."""
        said = []
        if self.unreadable:
            said.append(
                f"{self.unreadable:,} of {self.questions:,} reference answers cannot be read, so no answer to them is "
                f"right ({self.unreadable_example})"
            )
        if self.unreachable:
            said.append(
                f"{self.unreachable:,} of {self.questions:,} reference answers are none that this checkpoint's answers "
                f"are searched for ({self.unreachable_example})"
            )
        return said


def count_references(task: Task, extractor: str) -> ReferenceCounts:
    """Count the reference answers that cannot be met.

    Args:
        task: The questions that are going to be asked.
        extractor: Name of the checkpoint's own extractor.

    Raises:
        UserError: If it is all of them: the grader is the wrong one for these references, or extractor and grader can
            never agree on them.
    """
    unreadable, unreachable, judged = [], [], 0
    for problem in task.problems:
        # What makes its own judgement of an answer may have no reference, or one of many right answers.
        if ":" in problem.grader and not problem.answer.strip():
            continue
        judged += 1
        canonical = problem.canonical(problem.answer)
        if canonical is None:
            unreadable.append(problem)
        elif (
            problem.canonical(find_extractor(problem.extractor or extractor).of_reference(problem.answer)) != canonical
        ):
            unreachable.append(problem)
    if judged and len(unreadable) == judged:
        raise UserError(
            f"task {task.name}: the {unreadable[0].grader} grader can read no reference answer "
            f"({_example(unreadable)}); set task.grader to one that does"
        )
    if judged and len(unreadable) + len(unreachable) == judged:
        used = unreachable[0].extractor or extractor
        raise UserError(
            f"task {task.name}: extractor {used} and grader {unreachable[0].grader} can never agree: of an answer that "
            f"says what the reference does ({_example(unreachable)}), {used} finds "
            f"{find_extractor(used).of_reference(unreachable[0].answer)!r}; set task.extractor or task.grader"
        )
    return ReferenceCounts(
        len(task.problems), len(unreadable), _example(unreadable), len(unreachable), _example(unreachable)
    )


def _example(problems: list[Problem]) -> str:
    return f"question {problems[0].question_id}: {problems[0].answer[:60]!r}" if problems else ""
