import re
from collections import Counter
from itertools import islice

import pytest

from latent_core.errors import UserError
from latent_core.tasks.word_problems import MAX_STEPS, MAX_VALUE, MIN_STEPS, draw_cores, vocabulary, word_problems

SPLITS = ("train", "validation", "test")


def recompute(question: str) -> int:
    """Solve a question from its text alone."""
    first, *sentences = [sentence.split() for sentence in question.removesuffix(" ?").split(" . ")]
    value = int(first[2])
    for _, verb, what in (words for words in sentences if words[0] != "How"):
        match verb:
            case "buys" | "finds" | "gets":
                value += int(what)
            case "loses" | "sells" | "drops":
                value -= int(what)
            case "doubles":
                value *= 2
            case "halves":
                assert value % 2 == 0
                value //= 2
            case _:
                raise AssertionError(f"unknown verb {verb}")
    return value


def test_answers_follow_from_the_text_and_from_the_steps() -> None:
    symbols = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    for problem in word_problems("test", 300, seed=3).problems:
        assert recompute(problem.question) == int(problem.answer)
        assert MIN_STEPS <= len(problem.steps) <= MAX_STEPS
        value = int(problem.question.split()[2])
        for step in problem.steps:
            matched = re.fullmatch(r"<<(\d+)([-+*/])(\d+)=(\d+)>>", step)
            assert matched is not None
            left, symbol, right, result = matched.groups()
            assert int(left) == value
            value = symbols[symbol](value, int(right))
            assert value == int(result)
            assert 0 <= value <= MAX_VALUE
        assert value == int(problem.answer)


def test_no_arithmetic_is_shared_between_splits() -> None:
    drawn = {split: set(islice(draw_cores(split, seed=0), 3000)) for split in SPLITS}
    drawn["train"] |= set(islice(draw_cores("train", seed=1), 3000))
    assert all(core.split == split for split, cores in drawn.items() for core in cores)
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]


def test_the_split_does_not_change() -> None:
    """The shipped weights were trained on one side of this split: moving it would leak problems into training."""
    first = next(draw_cores("test", seed=0))
    assert (first.start, [(step.kind, step.operand) for step in first.operations]) == (
        150,
        [("add", 8), ("subtract", 11), ("subtract", 13), ("subtract", 10), ("add", 20)],
    )
    assert word_problems("test", 512).fingerprint == "ecd32bdfe69eea04"


def test_same_seed_same_problems_and_larger_sets_extend_smaller_ones() -> None:
    small, large, other = word_problems("test", 20), word_problems("test", 50), word_problems("test", 50, seed=1)
    assert list(large.problems[:20]) == list(small.problems)
    assert large.fingerprint == word_problems("test", 50).fingerprint
    assert large.fingerprint != other.fingerprint


def test_problems_are_unique() -> None:
    problems = word_problems("test", 512).problems
    assert len({problem.question_id for problem in problems}) == 512
    assert len({problem.question for problem in problems}) == 512


def test_guess_chances_are_small_and_follow_the_answers() -> None:
    task = word_problems("test", 300)
    assert task.guess_chances is not None
    by_answer = dict(zip((problem.answer for problem in task.problems), task.guess_chances, strict=True))
    assert [by_answer[problem.answer] for problem in task.problems] == list(task.guess_chances)
    assert 0 < sum(by_answer.values()) <= 1
    assert max(task.guess_chances) < 0.02


def test_guess_chances_are_the_shares_of_answers_that_are_drawn() -> None:
    task, drawn = word_problems("test", 4000), 20_000
    assert task.guess_chances is not None
    shares = {int(problem.answer): chance for problem, chance in zip(task.problems, task.guess_chances, strict=True)}
    assert len(shares) > 450
    seen = Counter(core.values[-1] for core in islice(draw_cores("train", 1), drawn))
    # Pearson's statistic: its mean is the number of answers, its standard deviation the root of twice that number.
    distance = sum((seen[answer] - drawn * share) ** 2 / (drawn * share) for answer, share in shares.items())
    assert abs(distance - len(shares)) < 5 * (2 * len(shares)) ** 0.5


def test_the_vocabulary_covers_every_word() -> None:
    words = vocabulary()
    assert len(words) == len(set(words))
    known = set(words)
    for problem in word_problems("train", 300).problems:
        assert set(problem.question.lower().split()) <= known


@pytest.mark.parametrize(("split", "count"), [("dev", 5), ("test", 0)])
def test_wrong_input_is_refused(split: str, count: int) -> None:
    with pytest.raises(UserError):
        word_problems(split, count)  # type: ignore[arg-type]
