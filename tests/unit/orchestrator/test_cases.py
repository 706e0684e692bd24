"""Small files that once gave a wrong result, or no clear line; they are beside the checkout, not in it."""

import json
from pathlib import Path

import pytest

from latent_core.answers.parsing import canonical_answer
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.tasks.columns import Columns
from latent_core.tasks.loading import load_task
from latent_core.tasks.references import count_references
from orchestrator.config.loading import read_yaml
from tests.support import shared_folder

QUESTION = "Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?"
TESTED = {"README.md", "answers.json", "binary.parquet", "math_refs.jsonl", "words.jsonl", "duplicate_keys.yaml"}
TESTED |= {"semicolon.csv", "chat.json", "nested.json", "nan.json", "surrogate.json"}


@pytest.fixture(scope="module")
def cases() -> Path:
    return shared_folder("cases")


def test_every_file_has_its_test(cases: Path) -> None:
    assert {file.name for file in cases.iterdir()} == TESTED


def test_texts_are_read_as_they_should_be(cases: Path) -> None:
    rows = json.loads((cases / "answers.json").read_text(encoding="utf-8"))
    assert len(rows) >= 30
    assert {row["text"]: canonical_answer(row["text"]) for row in rows} == {row["text"]: row["numeric"] for row in rows}


def test_one_of_eight_references_is_right(cases: Path) -> None:
    task = load_task(path=str(cases / "math_refs.jsonl"))
    assert [problem.question_id for problem in task.problems if problem.is_correct("35")] == ["right"]
    counts = count_references(task, "after_last_hash")
    assert (counts.questions, counts.unreadable, counts.unreadable_example) == (8, 6, r"question root: '\\sqrt{35}'")


def test_one_of_eight_references_is_right_as_mathematics(cases: Path) -> None:
    pytest.importorskip("math_verify")
    task = load_task(path=str(cases / "math_refs.jsonl"), grader="math")
    assert [problem.question_id for problem in task.problems if problem.is_correct(problem.canonical("35"))] == [
        "right"
    ]
    assert all(problem.is_correct(problem.canonical(problem.answer)) for problem in task.problems)


def test_words_are_no_task_for_an_extractor_of_numbers(cases: Path) -> None:
    task = load_task(path=str(cases / "words.jsonl"), grader="text")
    with pytest.raises(UserError, match="extractor last_number and grader text can never agree"):
        count_references(task, "last_number")
    assert count_references(task, Checkpoint.open("bundled:coconut-tiny").format.extractor).unreachable == 0


def test_text_stored_as_bytes_is_decoded(cases: Path) -> None:
    problems = load_task(path=str(cases / "binary.parquet")).problems
    assert (problems[0].question, problems[0].answer) == (QUESTION, "35")
    assert not any(text.startswith("b'") for problem in problems for text in (problem.question, problem.answer))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chat.json", "row 0: `question` holds a list"),
        ("nested.json", "row 0: `question` holds a struct"),
        ("nan.json", "row 0: `question` is nan"),
        ("surrogate.json", "row 1: `question` holds half of a surrogate pair"),
        ("semicolon.csv", "row 0 lacks `question` (it has q, target); say by task.columns "),
    ],
)
def test_a_row_that_cannot_be_read_is_named(cases: Path, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_task(path=str(cases / name))
    assert str(caught.value).startswith(f"task.path {cases / name}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_with_semicolons_is_read_with_its_columns(cases: Path) -> None:
    task = load_task(path=str(cases / "semicolon.csv"), columns=Columns(question=("q",), answer="target"))
    assert [problem.answer for problem in task.problems] == ["19", "8"]
    assert task.problems[0].question == "Ann has 12 pens . She buys 7 . How many pens ?"


def test_a_configuration_with_keys_twice_is_refused(cases: Path) -> None:
    with pytest.raises(UserError, match=r"line 5: the key 'budgets' is given twice \(first in line 3\)"):
        read_yaml(cases / "duplicate_keys.yaml")
