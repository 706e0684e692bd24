"""Questions that are there twice, or in another split too."""

from collections.abc import Iterator

import pytest

from latent_core.tasks.loading import load_task
from latent_core.tasks.repeats import Overlap, count_repeats, overlap_with


@pytest.mark.parametrize(
    ("questions", "repeats"), [([], 0), (["a", "b"], 0), (["a", "b", "a", "a"], 2), (["one  two", " one two\n"], 1)]
)
def test_repeats_are_counted_whatever_their_spacing(questions: list[str], repeats: int) -> None:
    assert count_repeats(questions) == repeats


def test_every_asked_question_that_train_has_counts() -> None:
    assert overlap_with(["a", "b", "a ", "c"], ["x", "a", "c", "a"], 10.0) == Overlap(3, 4, whole=True)
    assert overlap_with(["a"], [], 10.0) == Overlap(0, 0, whole=True)


def test_a_train_split_without_end_is_looked_at_for_a_while() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1

    found = overlap_with(["0", "-1"], endless(), 0.01)
    assert (found.known, found.whole) == (1, False)
    assert found.compared > 1


@pytest.mark.parametrize("name", ["word_problems", "path_finding"])
def test_splits_of_made_tasks_share_nothing(name: str) -> None:
    task = load_task(name=name, count=30)
    questions = [problem.question for problem in task.problems]
    assert task.train_questions is not None
    assert overlap_with(questions, task.train_questions(), 60.0) == Overlap(0, 30, whole=True)
    assert load_task(name=name, split="train", count=3).train_questions is None
