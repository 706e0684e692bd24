"""Task checks, before any question is asked: what is wrong is refused, the rest stands in the plan."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.probing import find_fault, needs_probing
from latent_core.tasks.repeats import count_repeats, overlap_with

if TYPE_CHECKING:
    from latent_core.models.checkpoint import Checkpoint

_MOST = 0.5
"""A question of which a larger share is lost is another question."""
_EXAMPLES = 5
_TRAIN_SECONDS = 10.0
"""How long questions of the train split are drawn and compared: enough for all that lie in files."""


def check_prompts(checkpoint: "Checkpoint", task: Task, prompts: Sequence[Sequence[int]]) -> Iterator[str]:
    """Count the questions of which the checkpoint's tokenizer cannot represent a part.

    Args:
        checkpoint: The checkpoint.
        task: The questions.
        prompts: Token ids of their prompts.

    Raises:
        UserError: If most of a question is lost.
    """
    # Model code takes seconds to import, and processes that only know of this module must not wait for it.
    from latent_core.models.lost_text import lost_characters, written_length

    questions = [problem.question for problem in task.problems]
    texts = [checkpoint.prompt_text(question) for question in questions]
    lost = lost_characters(checkpoint.tokenizer, texts, prompts)
    shares = [
        len(some) / max(1, written_length(one)) if some else 0.0 for some, one in zip(lost, questions, strict=True)
    ]
    worst = max(range(len(shares)), key=shares.__getitem__)
    if not shares[worst]:
        return
    examples = ", ".join(repr(one) for one, _ in Counter(lost[worst]).most_common(_EXAMPLES))
    named = f"question {task.problems[worst].question_id}"
    if shares[worst] > _MOST:
        raise UserError(
            f"{named}: the tokenizer of {checkpoint.source} cannot represent {min(shares[worst], 1.0):.0%} of it (such "
            f"as {examples}), so that the model would answer another question; drop it, or choose a checkpoint that "
            "knows these words"
        )
    affected = sum(share > 0 for share in shares)
    yield (
        f"{affected:,} of {len(shares):,} questions have text that the tokenizer cannot represent, most of all "
        f"{named}: {shares[worst]:.1%} of it, such as {examples}"
    )


def check_questions(task: Task) -> Iterator[str]:
    """Count the questions that repeat an earlier one, and those that the train split has too."""
    questions = [problem.question for problem in task.problems]
    repeats = count_repeats(questions)
    yield f"{repeats:,} of {len(questions):,} questions repeat an earlier one" if repeats else "all questions differ"
    if task.train_questions is None:
        return
    try:
        overlap = overlap_with(questions, task.train_questions(), _TRAIN_SECONDS)
    except UserError as error:
        yield f"how many of them stand in train is not known: {error}"
        return
    if overlap.compared:
        some = "" if overlap.whole else "the first "
        yield f"{overlap.known:,} of {len(questions):,} stand in train too ({some}{overlap.compared:,} questions)"


def check_outside(task: Task, *, trust_grader: bool) -> Iterator[str]:
    """Ask what has made a task, and what judges its answers, before either is trusted.

    Args:
        task: The task, without a limit.
        trust_grader: Whether a grader that takes wrong answers for right is used nevertheless.

    Raises:
        UserError: If the task cannot be made again, or the grader takes wrong answers for right and is not trusted.
    """
    if task.recheck is not None:
        yield from task.recheck()
    fault = find_fault(task.problems) if needs_probing(task.problems) else None
    if fault is None:
        return
    if not trust_grader:
        raise UserError(
            f"task {task.name}: its scorer takes {fault}; choose another task, or set task.trust_grader=true"
        )
    yield f"its scorer takes {fault} (task.trust_grader)"
