from dataclasses import replace

import pytest

from latent_core.answers.grading import GRADERS, Grader
from latent_core.errors import UserError
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
        Task("t", (replace(first, grader="path_finding"), second)),
    ]
    assert len({task.fingerprint for task in tasks}) == len(tasks)


def test_the_fingerprint_does_not_see_names_and_steps() -> None:
    """Neither changes any trajectory, so neither may make what is stored worthless."""
    first, second = PROBLEMS
    renamed = Task("u", (replace(first, steps=("1+0=1",)), second), (1.0, 0.5))
    assert renamed.fingerprint == Task("t", PROBLEMS).fingerprint
    assert renamed.fingerprint == "8a040760e7927251"


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 5])
def test_the_head_of_a_task_keeps_the_chances_of_its_problems(limit: int | None) -> None:
    head = Task("t", PROBLEMS, (0.25, 0.5)).head(limit)
    assert tuple(head.problems) == PROBLEMS[:limit]
    assert head.guess_chances == (0.25, 0.5)[:limit]
    assert Task("t", PROBLEMS).head(limit).guess_chances is None


def test_every_problem_has_its_chance() -> None:
    with pytest.raises(ValueError, match="1 guess_chances for 2 problems"):
        Task("t", PROBLEMS, (0.5,))


def test_a_grader_reads_and_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    shout = Grader(lambda text: text and text.upper(), lambda question, reference, answer: answer in question)
    monkeypatch.setitem(GRADERS._entries, "shout", shout)
    problem = Problem("q", "YES OR NO?", "yes", grader="shout")
    assert problem.canonical("yes") == "YES"
    assert problem.canonical(None) is None
    assert [problem.is_correct(answer) for answer in ("YES", "NO", "MAYBE", None)] == [True, True, False, False]


def test_an_unknown_grader_is_named() -> None:
    with pytest.raises(UserError, match="unknown grader 'numerik': did you mean 'numeric'"):
        Problem("q", "?", "1", grader="numerik").canonical("1")


def test_a_problem_may_name_its_own_extractor() -> None:
    """It is no part of the fingerprint: what has been sampled is read anew, and not sampled again."""
    problem = Problem("a", "one?", "1")
    own = replace(problem, extractor="boxed")
    assert problem.extract(r"# 2 \boxed{1}", str.upper) == r"# 2 \BOXED{1}"
    assert own.extract(r"# 2 \boxed{1}", str.upper) == "1"
    plain = Task("t", (problem, PROBLEMS[1]))
    assert plain.fingerprint == Task("t", PROBLEMS).fingerprint == "8a040760e7927251"
    assert Task("t", (own, PROBLEMS[1])).fingerprint == plain.fingerprint
