"""One spelling per value, and None for what is not one number."""

import random
import time
from fractions import Fraction

import pytest

from latent_core.answers.extractors import EXTRACTORS
from latent_core.answers.parsing import (
    MAX_CHARACTERS,
    MAX_EXPONENT,
    TOLERANCE,
    canonical_answer,
    canonical_text,
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
    ("5 km", "5"),
    ("5 km/h", "5"),
    ("5 m", "5"),
    # Signs of typography in front of a digit, and a true minus sign with a blank.
    ("\u20105", "-5"),
    ("\u20115", "-5"),
    ("\u20125", "-5"),
    ("\u20135", "-5"),
    ("\u2013$5", "-5"),
    ("\u2212 5", "-5"),
    ("x = \u22125", "-5"),
    # What LaTeX and Markdown write around a number.
    (r"\$5", "5"),
    (r"5\%", "5"),
    (r"5\text{ apples}", "5"),
    (r"\text{5 apples}", "5"),
    (r"\boxed{5}", "5"),
    (r"90^\circ", "90"),
    (r"90^{\circ}", "90"),
    ("90\u00b0C", "90"),
    ("$5$", "5"),
    ("$$5$$", "5"),
    (r"\(5\)", "5"),
    ("7{,}250", "7250"),
    (r"10,\!000", "10000"),
    ("### 5", "5"),
    ("5.0.", "5"),
    ("5\u20ac", "5"),
    ("x=5", "5"),
    ("x \u2248 5", "5"),
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
    # A part of another number.
    r"\sqrt{35}",
    r"\sqrt 35",
    "\u221a35",
    "sqrt 5",
    r"35\pi",
    "35 \u03c0",
    "35 pi",
    r"\frac 35",
    r"\dfrac{3}{5}",
    r"3\frac12",
    "2x",
    "2 x",
    "5x = 10",
    "3i",
    "3 i",
    "x2",
    "5km",
    "5k",
    "5!",
    "5 !",
    "5 million",
    "5 and a half",
    "1e3 squared",
    "f(5)",
    "|5|",
    "2 * 5",
    "x * 5",
    "x - 5",
    "5 - x",
    # Several.
    "(3,5)",
    "(2,6]",
    "[5]",
    "(5)",
    "18 dollars (18)",
    r"x \in [-1,4]",
    "x >= 5",
    "x != 5",
    # No thousands separator of the grammar.
    "2,5",
    "0,75",
    "0,750",
    "1,23,456",
    "1234,567",
    "12,5 kg",
    "1 000",
    "1\u00a0000",
    "1\u2009000",
    "1\u202f000",
    r"10\,000",
    "1'000",
    "1_000",
    "0x10",
    "12:30",
    "3:30 PM",
    "2023-05-06",
    # No sign of the grammar, and a sign in words.
    "\u20145",
    "+-5",
    "-$-5",
    "negative 5",
    "minus 5",
    # Digits of other scripts.
    "\uff15",
    "5 \u0663",
    "5\u00bd",
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
