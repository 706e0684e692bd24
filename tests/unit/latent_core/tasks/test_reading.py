"""Texts are read and judged as the engine does it, and it is said how."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from latent_core.answers.extractors import EXTRACTORS, after_last_hash
from latent_core.answers.grading import GRADER_FAMILIES, GRADERS, Grader, find_grader
from latent_core.tasks.base import Problem
from latent_core.tasks.reading import extractor_code, grader_code, read_answers, reading_of


@pytest.fixture(autouse=True)
def _forget_graders() -> Iterator[None]:
    """Graders are looked up once."""
    find_grader.cache_clear()
    yield
    find_grader.cache_clear()


def test_every_row_is_read_by_its_own_question() -> None:
    one, other = Problem("a", "?", "12"), Problem("b", "?", "Yes.", grader="text")
    texts = ["# 12", "12", "# twelve", "# yes", "# no", "# 12"]
    read = read_answers(texts, [one, one, one, other, other, other], after_last_hash)
    assert read == (["12", None, None, "yes", "no", "12"], [True, False, False, True, False, False])
    assert read_answers([], [], after_last_hash) == ([], [])


def test_what_is_written_often_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def extract(text: str) -> str | None:
        read.append(text)
        return text

    problems = [Problem("a", "?", "1"), Problem("b", "?", "2")] * 50
    answered, correct = read_answers(["1"] * 100, problems, extract)
    assert (answered, correct) == (["1"] * 100, [True, False] * 50)
    assert read == ["1", "1"]


def test_nothing_is_said_of_readings_that_are_as_they_always_were() -> None:
    assert reading_of("last_number", ["text", "path_finding"]) == {}


def test_another_extractor_than_the_checkpoints_own_is_named() -> None:
    assert reading_of("last_number", ["text"], chosen=True) == {"extractor": {"name": "last_number"}}


def test_later_versions_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRADERS._entries, "numeric", replace(GRADERS["numeric"], version=2))
    monkeypatch.setitem(EXTRACTORS, "last_number", replace(EXTRACTORS["last_number"], version=3))
    assert extractor_code("last_number") == {"version": 3}
    assert grader_code("numeric") == {"version": 2}
    assert reading_of("last_number", ["text", "numeric"]) == {
        "extractor": {"version": 3},
        "graders": {"numeric": {"version": 2}},
    }
    assert reading_of("after_last_hash", ["text"]) == {}
    assert reading_of("last_number", ["text"], chosen=True) == {"extractor": {"name": "last_number", "version": 3}}


def test_a_grader_of_ones_own_is_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRADERS._entries, "mine", Grader(lambda text: text, lambda question, reference, answer: True))
    found = reading_of("last_number", ["mine", "text"])
    assert set(found) == {"graders"}
    assert set(found["graders"]) == {"mine"}
    assert set(found["graders"]["mine"]) == {"source"}


def test_a_family_is_one_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a grader for every problem, and all of them are made by the same function."""
    made = []

    def family(argument: str) -> Grader:
        made.append(argument)
        return Grader(lambda text: text, lambda question, reference, answer: answer == argument, version=2)

    monkeypatch.setitem(GRADER_FAMILIES._entries, "mine", family)
    found = reading_of("last_number", [f"mine:{number}" for number in range(50)])
    assert list(found["graders"]) == ["mine"]
    assert len(made) == 1


def test_releases_of_the_libraries_that_judge_are_a_part_of_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another release of math-verify may read a fraction otherwise; what an older one has judged is judged anew."""
    releases = {"math-verify": "0.9.0", "latex2sympy2_extended": "1.11.0", "sympy": "1.14.0"}
    monkeypatch.setattr("importlib.metadata.version", releases.__getitem__)
    before = reading_of("boxed", ["math", "text"])
    assert before["graders"] == {"math": {"libraries": dict(releases)}}
    releases["sympy"] = "1.15.0"
    assert reading_of("boxed", ["math", "text"]) != before
