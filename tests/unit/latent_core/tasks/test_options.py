from typing import Any

import pytest

from latent_core.answers.choice import options_of
from latent_core.errors import UserError
from latent_core.tasks.columns import Columns, read_problems
from latent_core.tasks.options import list_options

COLORS = "(A) red\n(B) dark blue"


@pytest.mark.parametrize(
    "value",
    [
        ["red", "dark blue"],
        ["A) red", "B) dark blue"],
        ["(A) red", "(B) dark blue "],
        {"label": ["A", "B"], "text": ["red", "dark blue"]},
        [{"label": "A", "text": "red"}, {"label": "B", "text": "dark blue"}],
    ],
)
def test_options_are_listed_as_the_grader_reads_them(value: Any) -> None:
    assert list_options("here", value) == COLORS
    assert options_of(f"Which?\n{COLORS}") == {"A": "red", "B": "dark blue"}


def test_a_letter_that_is_not_its_own_belongs_to_the_option() -> None:
    assert list_options("here", ["B. Franklin", "A. Lincoln"]) == "(A) B. Franklin\n(B) A. Lincoln"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "holds None, and not 2 to 10 options"),
        ("red", "holds red, and not 2 to 10 options"),
        (["red"], "holds ['red'], and not 2 to 10 options"),
        ([str(number) for number in range(11)], "and not 2 to 10 options"),
        (["red", " "], "and not 2 to 10 options"),
        (["red", 3], "and not 2 to 10 options"),
        ({"label": ["A", "B"]}, "and not 2 to 10 options"),
        ({"label": ["1", "2"], "text": ["red", "blue"]}, "labels its options ['1', '2']; they are to be A, B"),
        ({"label": ["A"], "text": ["red", "blue"]}, "labels its options ['A']; they are to be A, B"),
    ],
)
def test_what_is_no_list_of_options_is_refused(value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        list_options("here", value)
    assert str(caught.value).startswith("here ")
    assert message in str(caught.value)


def test_options_are_a_column() -> None:
    columns = Columns.model_validate({"question": "q", "options": "choices"})
    [problem] = read_problems(
        "here", [{"q": "Which?", "choices": ["red", "dark blue"], "answer": "B"}], columns, "choice"
    )
    assert problem.question == f"Which?\n{COLORS}"
    assert problem.is_correct(problem.canonical("dark blue"))
    with pytest.raises(UserError, match="here: row 0: `choices` holds None"):
        read_problems("here", [{"q": "Which?", "answer": "B"}], columns, "choice")


def test_a_configuration_without_options_is_written_as_ever() -> None:
    assert Columns().model_dump(mode="json") == {
        "question": ["question"],
        "answer": "answer",
        "id": None,
        "steps": None,
    }
    assert Columns(options="choices").model_dump(mode="json")["options"] == "choices"
