"""How answers of a kind of problem are spelled, compared and judged: graders, found by name."""

from collections.abc import Callable
from dataclasses import dataclass

from latent_core.registry import Registry
from latent_core.tasks.answers import canonical_answer


@dataclass(frozen=True)
class Grader:
    """What right means for a kind of problem.

    Attributes:
        canonical: Brings the text of an answer into its one spelling; None for text that cannot be read, which is
            wrong and never votes.
        is_correct: Whether a canonical answer is right, given the question, the reference answer and the answer.
    """

    canonical: Callable[[str | None], str | None]
    is_correct: Callable[[str, str, str], bool]


GRADERS: Registry[Grader] = Registry("grader", "latent_core.tasks")


def _equals_reference(question: str, reference: str, answer: str) -> bool:
    return answer == canonical_answer(reference)


NUMERIC = "numeric"
"""One number, right if it equals the reference."""

GRADERS.register(NUMERIC, Grader(canonical_answer, _equals_reference))
