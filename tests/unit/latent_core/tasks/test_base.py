from dataclasses import replace

import pytest

from latent_core.tasks.base import Problem, Task

PROBLEMS = (Problem("a", "one?", "1"), Problem("b", "two?", "2"))


@pytest.mark.parametrize(
    ("reference", "answer", "correct"),
    [("1,234.0", "1234", True), ("1234", "1235", False), ("1", None, False), ("seven", None, False)],
)
def test_answers_are_compared_in_their_canonical_spelling(reference: str, answer: str | None, correct: bool) -> None:
    assert Problem("q", "?", reference).is_correct(answer) is correct


def test_the_fingerprint_sees_ids_questions_answers_and_order() -> None:
    first, second = PROBLEMS
    tasks = [
        Task("t", PROBLEMS),
        Task("t", PROBLEMS[::-1]),
        Task("t", PROBLEMS[:1]),
        Task("t", (replace(first, question_id="c"), second)),
        Task("t", (replace(first, question="one? "), second)),
        Task("t", (replace(first, answer="2"), second)),
        # Moving a letter from one field to the next must not go unseen.
        Task("t", (Problem("ao", "ne?", "1"), second)),
    ]
    assert len({task.fingerprint for task in tasks}) == len(tasks)


def test_the_fingerprint_does_not_see_names_and_steps() -> None:
    """Neither changes any trajectory, so neither may make what is stored worthless."""
    first, second = PROBLEMS
    renamed = Task("u", (replace(first, steps=("1+0=1",)), second), {"1": 1.0})
    assert renamed.fingerprint == Task("t", PROBLEMS).fingerprint
    assert renamed.fingerprint == "8a040760e7927251"
