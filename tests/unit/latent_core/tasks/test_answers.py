"""One spelling per value, and None for what is not one number."""

import random
import time
from fractions import Fraction

import pytest

from latent_core.tasks.answers import (
    EXTRACTORS,
    MAX_CHARACTERS,
    MAX_EXPONENT,
    TOLERANCE,
    after_answer_marker,
    after_last_hash,
    canonical_answer,
    canonical_text,
    last_number,
    numbers_agree,
)

CANONICAL = [
    ("72", "72"),
    (" 72 ", "72"),
    ("1,234", "1234"),
    ("1,234,567.50", "1234567.5"),
    ("$1234", "1234"),
    ("$ 1,234", "1234"),
    ("$0.50", "0.5"),
    ("$5.00", "5"),
    ("€5", "5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("72.", "72"),
    ("72 .", "72"),
    ("72.0", "72"),
    ("72.00", "72"),
    ("0.10", "0.1"),
    (".5", "0.5"),
    ("-.5", "-0.5"),
    ("-3", "-3"),
    ("+3", "3"),
    ("-3.50", "-3.5"),
    ("-9867630", "-9867630"),
    ("\u22125", "-5"),
    ("\uff0d5", "-5"),
    ("007", "7"),
    ("0", "0"),
    ("-0", "0"),
    ("0.00", "0"),
    ("100", "100"),
    ("1000000", "1000000"),
    ("1200.0", "1200"),
    ("0.000001", "0.000001"),
    ("1e3", "1000"),
    ("1E+3", "1000"),
    ("1e0003", "1000"),
    ("2.5e-3", "0.0025"),
    ("8.3099e-06", "0.0000083099"),
    ("1.2e+16", "12000000000000000"),
    ("3/4", "0.75"),
    ("3 / 4", "0.75"),
    ("-6/8", "-0.75"),
    ("10/5", "2"),
    ("1/3", "1/3"),
    ("-2/6", "-1/3"),
    ("1/7 cups", "1/7"),
    ("5 apples", "5"),
    ("5km", "5"),
    ("$18 dollars", "18"),
    ("about 5", "5"),
    ("x = 5", "5"),
    ("**5**", "5"),
    ("25%", "25"),
    ("0.5 %", "0.5"),
    # Digit strings keep every digit, however long they are.
    ("1" + "0" * 40 + "1", "1" + "0" * 40 + "1"),
    ("0." + "0" * 40 + "1", "0." + "0" * 40 + "1"),
    ("9" * (MAX_EXPONENT + 1), "9" * (MAX_EXPONENT + 1)),
    (f"1e{MAX_EXPONENT}", "1" + "0" * MAX_EXPONENT),
    (f"1e-{MAX_EXPONENT}", "0." + "0" * (MAX_EXPONENT - 1) + "1"),
]
NO_NUMBER = [
    None,
    "",
    " ",
    "no number",
    "seven",
    "5 or 6",
    "5-6",
    "7 2",
    "3 1/2",
    "3 = 3",
    "18 dollars and 50 cents",
    "--5",
    "--3",
    "- 5",
    "-",
    ".",
    "$",
    "inf",
    "nan",
    "1.2.3",
    "1..2",
    "1.234,5",
    "1/2/3",
    "5/0",
    "2^3",
    "5²",
    "½",
    "٣",
    "x5",
    "9" * (MAX_EXPONENT + 2),
    "0." + "1" * MAX_CHARACTERS,
    "1e999999999",
    "-1e-999999999",
    "1e" + "9" * 5000,
    f"1e{MAX_EXPONENT}/1e-{MAX_EXPONENT}",
]
HUGE = [
    "1." * 50_000,
    "1 " * 50_000,
    "1/" * 50_000,
    "-" * 50_000,
    "9," * 50_000,
    "1" * 50_000,
    " " * 50_000 + "1",
    f"1e-{MAX_EXPONENT}/{3**600}",
    f"1/{2**3000}",
    "1e99999",
]


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_canonical_spelling(text: str, expected: str) -> None:
    assert canonical_answer(text) == expected
    assert canonical_answer(expected) == expected


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_not_one_number_is_none(text: str | None) -> None:
    assert canonical_answer(text) is None


@pytest.mark.parametrize("text", HUGE, ids=range(len(HUGE)))
def test_no_text_takes_long_to_read(text: str) -> None:
    started = time.process_time()
    for read in (canonical_answer, canonical_text, *EXTRACTORS.values()):
        read(text)
    assert time.process_time() - started < 2


def test_equal_values_have_equal_spellings_and_others_have_others() -> None:
    """Votes are counted on spellings, and the grader reads a spelling again."""
    rng = random.Random(0)
    values: dict[str, Fraction] = {}
    for _ in range(3000):
        top, bottom = rng.randint(-50, 50), rng.choice((1, 2, 3, 5, 6, 7, 8, 10, 25, 60))
        scale = rng.choice((1, 3, 10))
        spelled = canonical_answer(f"{top * scale}/{bottom * scale}")
        assert spelled is not None
        assert canonical_answer(spelled) == spelled
        assert values.setdefault(spelled, Fraction(top, bottom)) == Fraction(top, bottom)
    assert len(set(values.values())) == len(values)


@pytest.mark.parametrize(
    ("answer", "reference", "agree"),
    [
        ("72", "72", True),
        ("72", "1,234", False),
        ("1234", "$1,234.00", True),
        ("0.3333", "1/3", True),
        ("0.33", "1/3", False),
        ("0.5009", "0.5", True),
        ("0.501", "0.5", False),
        ("0.499", "0.5", False),
        ("-0.5", "0.5", False),
        ("72", "73", False),
        ("0", "3.509e-07", True),
        ("100000000000000000000000000000000000001", "100000000000000000000000000000000000002", False),
        ("72", "seven", False),
    ],
)
def test_numbers_agree_within_the_tolerance(answer: str, reference: str, agree: bool) -> None:
    assert numbers_agree(answer, reference) is agree
    assert numbers_agree(reference, answer) is agree


def test_the_tolerance_is_that_of_gsm_hard() -> None:
    assert Fraction("1e-3") == TOLERANCE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom is a lempus.", "tom is a lempus"),
        ("  tom  IS a\nlempus ", "tom is a lempus"),
        ("Tom is a lempus . ", "tom is a lempus"),
        ("72", "72"),
        (None, None),
        ("", None),
        (" . ", None),
    ],
)
def test_canonical_text(text: str | None, expected: str | None) -> None:
    assert canonical_text(text) == expected
    assert canonical_text(expected) == expected


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
        ("so \u22124", "-4"),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, expected: str | None) -> None:
    assert last_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: 5", "5"),
        ("Answer:1 Answer: 2 ", "2"),
        ("Answer: 5###", "5"),
        ("#Answer:## 5 # ", "5"),
        ("Answer:", ""),
        ("5", None),
        ("answer: 5", None),
    ],
)
def test_after_answer_marker(text: str, expected: str | None) -> None:
    assert after_answer_marker(text) == expected


@pytest.mark.parametrize(
    ("extractor", "form"),
    [("after_last_hash", "### {}"), ("last_number", "The answer is: {}"), ("after_answer_marker", "Answer: {}###")],
)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("1,234", "1234"),
        ("$5.00", "5"),
        ("-9867630", "-9867630"),
        (".5", "0.5"),
        ("3/4", "0.75"),
        ("1e3", "1000"),
        ("18 dollars.", "18"),
        ("25%", "25"),
        ("no number", None),
        ("", None),
        ("1.2.3", None),
        ("1e999999999", None),
    ],
)
def test_every_format_reads_awkward_answers_alike(extractor: str, form: str, answer: str, expected: str | None) -> None:
    assert canonical_answer(EXTRACTORS[extractor](form.format(answer))) == expected


def test_extractors_have_the_names_that_formats_use() -> None:
    assert {
        "after_last_hash": after_last_hash,
        "last_number": last_number,
        "after_answer_marker": after_answer_marker,
    } == EXTRACTORS
