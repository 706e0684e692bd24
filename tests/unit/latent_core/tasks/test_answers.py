"""One spelling per value, and None for what is not one number."""

import pytest

from latent_core.tasks.answers import EXTRACTORS, after_answer_marker, after_last_hash, canonical_answer, last_number

CANONICAL = [
    ("72", "72"),
    (" 72 ", "72"),
    ("1,234", "1234"),
    ("1,234,567.50", "1234567.5"),
    ("$1234", "1234"),
    ("$ 1,234", "1234"),
    ("$0.50", "0.5"),
    ("72.", "72"),
    ("72.0", "72"),
    ("72.00", "72"),
    ("0.10", "0.1"),
    (".5", "0.5"),
    ("-.5", "-0.5"),
    ("-3", "-3"),
    ("+3", "3"),
    ("-3.50", "-3.5"),
    ("007", "7"),
    ("0", "0"),
    ("-0", "0"),
    ("0.00", "0"),
    ("100", "100"),
    ("1000000", "1000000"),
    ("1200.0", "1200"),
    ("0.000001", "0.000001"),
]
NO_NUMBER = [
    None,
    "",
    " ",
    "no number",
    "seven",
    "72 apples",
    "7 2",
    "1/2",
    "1e5",
    "--3",
    "-",
    ".",
    "$",
    "3 = 3",
    "inf",
]


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_canonical_spelling(text: str, expected: str) -> None:
    assert canonical_answer(text) == expected
    assert canonical_answer(expected) == expected


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_not_one_number_is_none(text: str | None) -> None:
    assert canonical_answer(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("### 57", "57"), ("a # b # c", "c"), ("###", ""), ("57", None), ("", None), (" #\n12 ", "12")],
)
def test_after_last_hash(text: str, expected: str | None) -> None:
    assert after_last_hash(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is: 18.", "18."),
        ("3 + 4 = 7", "7"),
        ("it costs $1,234.50 in all", "1,234.50"),
        ("minus -4", "-4"),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, expected: str | None) -> None:
    assert last_number(text) == expected


def test_a_last_number_can_be_compared() -> None:
    assert canonical_answer(last_number("so she pays $1,234.50.")) == "1234.5"
    assert canonical_answer(last_number("The answer is: 18.")) == "18"


@pytest.mark.parametrize(
    ("text", "expected"), [("Answer: 5", "5"), ("Answer:1 Answer: 2 ", "2"), ("5", None), ("answer: 5", None)]
)
def test_after_answer_marker(text: str, expected: str | None) -> None:
    assert after_answer_marker(text) == expected


def test_extractors_have_the_names_that_formats_use() -> None:
    assert {
        "after_last_hash": after_last_hash,
        "last_number": last_number,
        "after_answer_marker": after_answer_marker,
    } == EXTRACTORS
