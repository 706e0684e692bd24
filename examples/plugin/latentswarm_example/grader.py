"""Grader of numbers that are right when they round to the same whole number."""

from latent_core.answers.grading import GRADERS, Grader
from latent_core.answers.parsing import canonical_answer


def agrees_rounded(question: str, reference: str, answer: str) -> bool:
    """Whether both are numbers that round to the same one."""
    try:
        return round(float(reference)) == round(float(answer))
    except ValueError:
        return False


GRADERS.register("rounded", Grader(canonical_answer, agrees_rounded, fits_any_data=True))
