from typing import Any

import pytest
from pydantic import ValidationError

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns, check_columns, read_problems

ROWS: list[dict[str, Any]] = [
    {"Body": "Two pens. ", "Question": " How many?", "Answer": 2.0, "Name": "a", "Steps": "1+1=2\n\n2*1=2"},
    {"Body": "No pens.", "Question": "How many?", "Answer": "so\n#### 0", "Name": 7, "Steps": ["0"]},
    {"Body": "Pens.", "Question": "How many?", "Answer": 8.3e-06, "Name": None, "Steps": None},
]
COLUMNS = Columns(question=("Body", "Question"), answer="Answer", id="Name", steps="Steps")


def test_columns_are_named_joined_and_cut() -> None:
    problems = read_problems("here", ROWS, COLUMNS)
    assert [problem.question for problem in problems] == [
        "Two pens. How many?",
        "No pens. How many?",
        "Pens. How many?",
    ]
    assert [problem.canonical(problem.answer) for problem in problems] == ["2", "0", "0.0000083"]
    assert [problem.question_id for problem in problems] == ["a", "7", "2"]
    assert [problem.steps for problem in problems] == [("1+1=2", "2*1=2"), ("0",), ()]


def test_without_columns_rows_are_numbered() -> None:
    problems = read_problems("here", [{"id": "x", "question": " One? ", "answer": 1}], Columns())
    assert [(problem.question_id, problem.question) for problem in problems] == [("0", " One? ")]


def test_a_question_may_be_one_column_or_several() -> None:
    assert Columns.model_validate({"question": "q"}) == Columns(question=("q",))
    assert Columns.model_validate({"question": ["b", "q"]}) == Columns(question=("b", "q"))
    with pytest.raises(ValidationError):
        Columns.model_validate({"question": []})
    with pytest.raises(ValidationError):
        Columns.model_validate({"quesion": "q"})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "here: the data set is empty"),
        ([*ROWS, {**ROWS[0], "Question": " "}], "here: row 3 lacks `Question` (it has Body, "),
        ([*ROWS, {**ROWS[0], "Answer": None}], "here: row 3 lacks `Answer` (it has Body, "),
        ([*ROWS, ROWS[0]], "here: the `Name` column repeats itself; "),
        (["text"], "here: row 0 is not an object with `Body` and `Question` and `Answer`"),
    ],
)
def test_bad_rows_are_named(rows: list[Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_problems("here", rows, COLUMNS)
    assert str(caught.value).startswith(message)


def test_a_grader_that_can_read_no_reference_is_the_wrong_one() -> None:
    rows = [{"question": "Who?", "answer": "Tom is a lempus."}, {"question": "Who?", "answer": "Tom."}]
    with pytest.raises(UserError) as caught:
        read_problems("here", rows, Columns())
    assert str(caught.value) == (
        "here: the numeric grader can read no reference answer (row 0 has 'Tom is a lempus.'); "
        "for answers in words set task.grader=text"
    )
    assert all(
        problem.is_correct(problem.canonical("tom ")) == (problem.answer == "Tom.")
        for problem in read_problems("here", rows, Columns(), "text")
    )
    assert len(read_problems("here", [*rows, {"question": "?", "answer": "1"}], Columns())) == 3


@pytest.mark.parametrize("lacking", ["Body", "Question", "Answer", "Name", "Steps"])
def test_columns_that_are_not_there(lacking: str) -> None:
    found = [name for name in ROWS[0] if name != lacking]
    with pytest.raises(UserError) as caught:
        check_columns("here", COLUMNS, found)
    assert str(caught.value) == f"here: no column `{lacking}`; it has {', '.join(found)} (set task.columns)"
    check_columns("here", COLUMNS, list(ROWS[0]))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("question", [{"role": "user", "content": "?"}], "row 1: `question` holds a list ([{'role': "),
        ("question", {"text": "?"}, "row 1: `question` holds a struct ({'text': "),
        ("question", ("a", "b"), "row 1: `question` holds a list"),
        ("question", float("nan"), "row 1: `question` is nan, neither text nor a number; "),
        ("question", b"\xff", "row 1: `question` holds bytes that are no UTF-8 text"),
        ("question", "How \ud83d many?", "row 1: `question` holds half of a surrogate pair"),
        ("answer", float("nan"), "row 1: `answer` is nan"),
        ("answer", float("inf"), "row 1: `answer` is inf"),
        ("answer", ["1"], "row 1: `answer` holds a list"),
        ("answer", "1\udc00", "row 1: `answer` holds half of a surrogate pair"),
        ("id", float("nan"), "row 1: `id` is nan"),
        ("id", {"a": 1}, "row 1: `id` holds a struct"),
    ],
)
def test_what_is_no_text_is_refused_with_row_and_column(column: str, value: Any, message: str) -> None:
    rows = [{"question": "One?", "answer": 1, "id": "a"}, {"question": "Two?", "answer": 2, "id": "b", column: value}]
    with pytest.raises(UserError) as caught:
        read_problems("here", rows, Columns(id="id"))
    assert str(caught.value).startswith(f"here: {message}")
    # A column that is not read may hold anything.
    assert len(read_problems("here", [{**row, "other": value} for row in rows[:1]], Columns())) == 1


def test_bytes_that_are_text_are_read_as_text() -> None:
    row = {"question": "Zwölf?".encode(), "answer": b"12", "id": b"a", "steps": b"6+6\n12"}
    [problem] = read_problems("here", [row], Columns(id="id", steps="steps"))
    assert (problem.question, problem.answer, problem.question_id) == ("Zwölf?", "12", "a")
    assert problem.steps == ("6+6", "12")
