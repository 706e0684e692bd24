"""How answers of a kind of problem are spelled, compared and judged: graders, found by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from latent_core.answers.parsing import canonical_answer, canonical_text, numbers_agree
from latent_core.errors import UserError
from latent_core.registry import Registry


@dataclass(frozen=True)
class Grader:
    """What right means for a kind of problem.

    Attributes:
        canonical: Brings the text of an answer into its one spelling; None for text that cannot be read, which is
            wrong and never votes.
        is_correct: Whether a canonical answer is right, given the question, the reference answer and the answer. It
            sees nothing else, so that no answer is right in one sample and wrong in another.
        fits_any_data: Whether it needs no more than a reference answer, so that any data set may name it.
        canonical_for: Where reading an answer needs its question too: takes question and text, in place of `canonical`.
        prepare: Called before a task is used, for what may be missing on this machine; raises UserError.
        version: Raised with the behaviour of a shipped grader: stored answers are then read and judged anew.
        libraries: Distributions whose code judges too. Their versions stand beside the grader's own: what another
            release of one has judged is read and judged anew, and a node with another release refuses.
    """

    canonical: Callable[[str | None], str | None]
    is_correct: Callable[[str, str, str], bool]
    fits_any_data: bool = False
    canonical_for: Callable[[str, str | None], str | None] | None = None
    version: int = 1
    prepare: Callable[[], None] | None = None
    libraries: tuple[str, ...] = ()

    def read(self, question: str, text: str | None) -> str | None:
        """Bring an answer to a question into its one spelling; None where it cannot be read."""
        return self.canonical(text) if self.canonical_for is None else self.canonical_for(question, text)


GRADERS: Registry[Grader] = Registry("grader", "latent_core.answers", "latent_core.tasks", group="graders")

GRADER_FAMILIES: Registry[Callable[[str], Grader]] = Registry(
    "grader family", "latent_core.answers", "latent_core.tasks"
)
"""Graders that need to know more about a problem: what follows the colon in "family:argument" makes one."""


@cache
def find_grader(name: str) -> Grader:
    """Return the grader of that name.

    Raises:
        UserError: If there is none; the message names the nearest one.
    """
    family, colon, argument = name.partition(":")
    return GRADER_FAMILIES[family](argument) if colon else GRADERS[name]


def check_fits_any_data(name: str) -> None:
    """Refuse a grader that cannot judge the answers of any data set.

    Raises:
        UserError: If it is unknown or made for one task (the message names those that fit), or lacks a package.
    """
    fitting = [known for known in GRADERS if GRADERS[known].fits_any_data]
    if name not in fitting:
        raise UserError(f"task.grader: {name!r} is no grader for any data set; use one of {', '.join(fitting)}")
    if (prepare := GRADERS[name].prepare) is not None:
        prepare()


def _agrees_with_reference(question: str, reference: str, answer: str) -> bool:
    return numbers_agree(answer, reference)


def _says_the_same(question: str, reference: str, answer: str) -> bool:
    return answer == canonical_text(reference)


NUMERIC = "numeric"
"""One number, right if it equals the reference within `TOLERANCE`."""
TEXT = "text"
"""Words, right if they are those of the reference; case, spacing and a period at the end do not matter."""

# Version 2 reads by the grammar; version 1 took the digits out of "2x", "(3,5)" and "35\\pi".
GRADERS.register(NUMERIC, Grader(canonical_answer, _agrees_with_reference, fits_any_data=True, version=2))
GRADERS.register(TEXT, Grader(canonical_text, _says_the_same, fits_any_data=True))
