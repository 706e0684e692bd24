"""Graders are asked before they are trusted, and none is refused for what may be right."""

from collections.abc import Callable, Iterator

import pytest
from behaviours import REFERENCES

from latent_core.answers import grading
from latent_core.answers.grading import GRADERS, Grader, find_grader
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from latent_core.tasks.path_finding import GRADER as PATH_FINDING
from latent_core.tasks.probing import find_fault, needs_probing

Judge = Callable[[str, str, str], bool]
NUMBERS = [str(number) for number in (7, -12, 250, 31, 1024, 18, 96, 5, 77, -3)]
DECIMALS = ["3.41844671365", "-2.313830", "0.8125", "12.5", "6.103515625e-05", "100.25", "-0.375"]
WORDS = ["heads", "tails", "red", "blue", "north", "south"]


@pytest.fixture
def judged_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Problem]]]:
    """Problems whose answers are judged by a function."""

    def made(judge: Judge, references: list[str], question: str = "?") -> list[Problem]:
        grader = Grader(lambda text: (text or "").strip() or None, judge)
        monkeypatch.setitem(GRADERS._entries, "probed", grader)
        find_grader.cache_clear()
        return [Problem(f"q{i}", f"{question} {i}", one, grader="probed") for i, one in enumerate(references)]

    yield made
    find_grader.cache_clear()


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def close(tolerance: float) -> Judge:
    def judge(question: str, reference: str, answer: str) -> bool:
        value = as_number(answer)
        return value is not None and abs(value - float(reference)) <= tolerance

    return judge


def anything(question: str, reference: str, answer: str) -> bool:
    return True


def always_zero(question: str, reference: str, answer: str) -> bool:
    return answer in (reference, "0")


def without_sign(question: str, reference: str, answer: str) -> bool:
    return answer.lstrip("-") == reference.lstrip("-")


def a_prefix(question: str, reference: str, answer: str) -> bool:
    return reference.startswith(answer)


def at_least(question: str, reference: str, answer: str) -> bool:
    value = as_number(answer)
    return value is not None and value >= float(reference)


@pytest.mark.parametrize(
    ("judge", "references", "said"),
    [
        (anything, WORDS, "'0' for right in 6 of 6"),
        (anything, NUMBERS, "'0' for right"),
        (always_zero, NUMBERS, "'0' for right"),
        (without_sign, NUMBERS, "the number with the wrong sign for right"),
        (a_prefix, NUMBERS, "half of the digits for right"),
        (
            close(1e-3),
            ["3.41844671365", "0.00012345678", "12.3456789012", "-2.31383012345"],
            "half of the digits for right",
        ),
        (close(1.0), NUMBERS, "the number after the right one for right"),
        (at_least, NUMBERS, " for right"),
        (lambda q, r, a: a in WORDS, WORDS, "the answer of another problem for right in 6 of 6"),
        (lambda q, r, a: as_number(a) is not None and as_number(a) > 4, ["5", "6", "7", "8"], "'42' for right"),
        # Nothing to compare with: any text at all passes.
        (anything, [""] * 6, " for right"),
    ],
)
def test_a_grader_that_takes_wrong_answers_for_right_is_found(
    judged_by: Callable[..., list[Problem]], judge: Judge, references: list[str], said: str
) -> None:
    fault = find_fault(judged_by(judge, references))
    if not any(references):
        # Without references nobody knows of any answer that it is wrong for different ones.
        assert fault is None
        return
    assert fault is not None
    assert said in fault


def same(question: str, reference: str, answer: str) -> bool:
    return answer.casefold() == reference.casefold()


@pytest.mark.parametrize(
    ("judge", "references", "question"),
    [
        (same, NUMBERS, "?"),
        (same, WORDS, "?"),
        # Constants that are the answer of some problems, or of nearly all.
        (same, ["0", "1"] * 8, "?"),
        (same, ["yes", "no"] * 8, "?"),
        (same, ["yes"] * 15 + ["no"], "?"),
        (same, ["0"] * 12, "?"),
        # Another spelling of the one answer that nearly all problems have.
        (
            lambda q, r, a: a.casefold() in {"yes": ("yes", "true", "1"), "no": ("no", "false", "0")}[r],
            ["yes"] * 20 + ["no"],
            "?",
        ),
        (
            lambda q, r, a: a.casefold() in {"yes": ("yes", "true", "1"), "no": ("no", "false", "0")}[r],
            ["yes", "no"] * 9,
            "?",
        ),
        # Numbers whose spelling does not matter.
        (close(0), ["0.0", "5.000", "1.0", "-7.50", "42.0"], "?"),
        # As precise as the question asks for.
        (
            lambda q, r, a: as_number(a) is not None and f"{float(a):.2e}" == f"{float(r):.2e}",
            DECIMALS,
            "to 3 significant figures",
        ),
        # Several right answers for some of the problems.
        (lambda q, r, a: a == r or (r in "abc" and a in "abc"), ["a", "b", "c", *WORDS, *NUMBERS], "?"),
        # Too few to say anything.
        (anything, ["1", "2"], "?"),
        (lambda q, r, a: 1 / 0 == 0, [], "?"),
    ],
)
def test_what_may_be_right_is_no_fault(
    judged_by: Callable[..., list[Problem]], judge: Judge, references: list[str], question: str
) -> None:
    assert find_fault(judged_by(judge, references, question)) is None


def test_what_a_scorer_prints_is_not_shown(
    judged_by: Callable[..., list[Problem]], capsys: pytest.CaptureFixture[str]
) -> None:
    find_fault(judged_by(lambda q, r, a: print("move", a) is not None, WORDS))  # noqa: T201
    assert capsys.readouterr().out == ""


def test_slow_scorers_are_asked_little(judged_by: Callable[..., list[Problem]]) -> None:
    asked = []

    def judge(question: str, reference: str, answer: str) -> bool:
        asked.append(answer)
        return False

    find_fault(judged_by(judge, [str(number) for number in range(100, 600)]))
    assert 50 < len(asked) < 100


@pytest.mark.parametrize("name", ["path_finding", "word_problems"])
def test_graders_of_this_project_are_sound(name: str) -> None:
    problems = load_task(name=name, count=40).problems
    assert find_fault(problems) is None
    assert needs_probing(problems) == (name == "path_finding")


def test_what_compares_with_the_reference_needs_no_probing() -> None:
    for name in REFERENCES:
        assert needs_probing([Problem("q", "?", "1", grader=name)]) == (name == PATH_FINDING)
    assert not needs_probing([])
    assert grading.NUMERIC in list(GRADERS)
