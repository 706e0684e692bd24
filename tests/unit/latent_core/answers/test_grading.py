import pytest

from latent_core.answers.grading import GRADER_FAMILIES, GRADERS, TEXT, Grader, check_fits_any_data, find_grader
from latent_core.errors import UserError
from latent_core.tasks.base import Problem


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Tom is a lempus.", True),
        (" tom is  a LEMPUS", True),
        ("Tom is a gerpus.", False),
        ("lempus", False),
        ("", False),
        (None, False),
    ],
)
def test_text_is_right_whatever_its_case_spacing_and_final_period(answer: str | None, right: bool) -> None:
    problem = Problem("q", "Is Tom a lempus or a gerpus?", "Tom is a lempus.", grader=TEXT)
    assert problem.is_correct(problem.canonical(answer)) is right


def test_a_number_that_is_spelled_differently_may_be_right_too() -> None:
    problem = Problem("q", "?", "1/3")
    assert [problem.canonical(text) for text in ("0.3333", "2/6", "0.3")] == ["0.3333", "1/3", "0.3"]
    assert [problem.is_correct(answer) for answer in ("0.3333", "1/3", "0.3")] == [True, True, False]


@pytest.mark.parametrize("name", ["numeric", "text", "choice"])
def test_graders_for_any_data(name: str) -> None:
    check_fits_any_data(name)


@pytest.mark.parametrize("name", ["numerik", "path_finding", "reasoning_gym:x", ""])
def test_others_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_fits_any_data(name)
    assert (
        str(caught.value)
        == f"task.grader: {name!r} is no grader for any data set; use one of choice, math, numeric, text, yes_no"
    )


def test_a_family_makes_a_grader_of_what_follows_the_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    def equal_to(argument: str) -> Grader:
        return Grader(lambda text: text, lambda question, reference, answer: answer == argument)

    monkeypatch.setitem(GRADER_FAMILIES._entries, "equal_to", equal_to)
    assert Problem("q", "?", "", grader="equal_to:a:b").is_correct("a:b")
    assert not Problem("q", "?", "", grader="equal_to:a").is_correct("b")
    with pytest.raises(UserError, match="unknown grader family 'equals_to': did you mean 'equal_to'"):
        find_grader("equals_to:a")
    with pytest.raises(UserError, match="unknown grader 'equal_to'"):
        find_grader("equal_to")
    assert find_grader("numeric") is GRADERS["numeric"]


def test_versions_say_when_readings_have_changed() -> None:
    """Rows that an earlier version has graded are read again; version 1 took "2x" for 2."""
    assert {name: GRADERS[name].version for name in ("numeric", "text", "choice", "math")} == {
        "numeric": 2,
        "text": 1,
        "choice": 1,
        "math": 1,
    }
