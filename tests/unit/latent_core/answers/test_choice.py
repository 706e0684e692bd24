"""Multiple choice: one option, or nothing."""

import pytest

from latent_core.answers.choice import CHOICE, canonical_choice, options_of
from latent_core.tasks.base import Problem

INLINE = "Which colour? (A) red (B) blue (C) green."
LINES = "Which?\nA. 5 pens\nB. 6 pens\nC. 5 pens"


@pytest.mark.parametrize(
    "text",
    ["B", "b", "(B)", "B.", "B)", "(b).", "**B**", r"\text{(B)}", "The answer is B", "the answer is: (B).", "B: blue"],
)
def test_an_option_by_its_letter(text: str) -> None:
    assert canonical_choice("", text) == canonical_choice(INLINE, text) == "B"


@pytest.mark.parametrize(
    ("question", "text", "letter"),
    [
        (INLINE, "blue", "B"),
        (INLINE, "Blue.", "B"),
        (INLINE, "Answer: blue", "B"),
        (INLINE, "D", None),
        (INLINE, "(B) red", None),
        (INLINE, "yellow", None),
        (LINES, "6 pens", "B"),
        (LINES, "5 pens", None),
        (LINES, "C) 5 pens", "C"),
        ("", "blue", None),
    ],
)
def test_an_option_by_its_text(question: str, text: str, letter: str | None) -> None:
    assert canonical_choice(question, text) == letter


@pytest.mark.parametrize(
    "text", ["A and B", "A or B", "A, B", "A) B)", "A. B", "(B", "a dog", "B because", "AB", "", None]
)
def test_what_is_ambiguous_is_refused(text: str | None) -> None:
    assert canonical_choice("", text) is None
    assert canonical_choice(INLINE, text) is None


def test_the_options_of_a_question() -> None:
    assert options_of(INLINE) == {"A": "red", "B": "blue", "C": "green"}
    assert options_of(LINES) == {"A": "5 pens", "B": "6 pens", "C": "5 pens"}
    for none in ("How many?", "A. Smith has 5.", "(B) x (A) y", "(A) x (C) y"):
        assert options_of(none) == {}


def test_a_problem_reads_an_answer_with_its_question() -> None:
    problem = Problem("q", INLINE, "(B)", grader=CHOICE)
    assert [problem.is_correct(problem.canonical(text)) for text in ("blue", "B", "red", "?")] == [
        True,
        True,
        False,
        False,
    ]
    assert Problem("q", INLINE, "blue", grader=CHOICE).is_correct("B")
