import pytest

from latent_core.answers.grading import find_grader
from latent_core.answers.yes_no import canonical_yes_no


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "Yes.",
        " TRUE ",
        "True",
        "**Yes**",
        "The answer is yes.",
        "So the answer is: true",
        "Answer: yes",
        r"\text{Yes}",
        '"yes"!',
    ],
)
def test_yes(text: str) -> None:
    assert canonical_yes_no(text) == "yes"


@pytest.mark.parametrize("text", ["no", "No.", "False", "the final answer is no", "Therefore, the answer is false."])
def test_no(text: str) -> None:
    assert canonical_yes_no(text) == "no"


@pytest.mark.parametrize(
    "text", [None, "", "maybe", "yes and no", "No, wait: yes", "not", "yesterday", "1", "yes, it is"]
)
def test_anything_else_is_not_read(text: str | None) -> None:
    assert canonical_yes_no(text) is None


def test_references_are_spelled_either_way() -> None:
    grader = find_grader("yes_no")
    assert all(grader.is_correct("?", reference, "yes") for reference in ("True", "yes"))
    assert not any(grader.is_correct("?", reference, "yes") for reference in ("False", "no", "", "?"))
