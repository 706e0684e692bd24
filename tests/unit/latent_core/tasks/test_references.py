"""References that no answer can meet are counted, and a task of nothing else is refused."""

import pytest

from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task
from latent_core.tasks.references import ReferenceCounts, count_references


def task(*answers: str, grader: str = "numeric", extractor: str | None = None) -> Task:
    rows = enumerate(answers)
    return Task("t", tuple(Problem(str(row), "?", answer, grader=grader, extractor=extractor) for row, answer in rows))


def test_all_can_be_met() -> None:
    counts = count_references(task("35", "1/3", "$5", "-7"), "last_number")
    assert counts == ReferenceCounts(4)
    assert counts.lines() == []


def test_unreadable_references_are_counted_with_an_example() -> None:
    counts = count_references(task("35", r"\sqrt{35}", "2x"), "after_last_hash")
    assert (counts.unreadable, counts.unreachable) == (2, 0)
    assert counts.lines() == [
        "2 of 3 reference answers cannot be read, so no answer to them is right (question 1: '\\\\sqrt{35}')"
    ]


def test_references_that_the_extractor_never_finds_are_counted() -> None:
    counts = count_references(task("35", "C", "A", grader="text"), "last_number")
    assert (counts.unreadable, counts.unreachable, counts.unreachable_example) == (0, 2, "question 1: 'C'")
    assert "2 of 3 reference answers are none that" in counts.lines()[0]
    assert count_references(task("35", "C", grader="text"), "after_last_hash").unreachable == 0


def test_none_that_can_be_read_is_refused() -> None:
    with pytest.raises(UserError, match=r"the numeric grader can read no reference answer \(question 0: 'seven'\)"):
        count_references(task("seven", "2x"), "last_number")


@pytest.mark.parametrize("grader", ["text", "choice", "math"])
def test_numbers_against_words_are_refused(grader: str) -> None:
    if grader == "math":
        pytest.importorskip("math_verify")
    with pytest.raises(UserError) as caught:
        count_references(task("C", "A", grader=grader), "last_number")
    assert str(caught.value) == (
        f"task t: extractor last_number and grader {grader} can never agree: of an answer that says what the reference "
        "does (question 0: 'C'), last_number finds None; set task.extractor or task.grader"
    )
    assert count_references(task("C", "A", grader=grader, extractor="text"), "last_number").unreachable == 0
