"""Where in generated text the answer stands."""

import pytest

from latent_core.answers.extractors import (
    EXTRACTORS,
    after_answer_marker,
    after_last_hash,
    after_the_answer_is,
    boxed,
    find_extractor,
    last_number,
    whole_text,
)
from latent_core.answers.parsing import canonical_answer
from latent_core.errors import UserError


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
    assert {name: extractor.find for name, extractor in EXTRACTORS.items()} == {
        "after_last_hash": after_last_hash,
        "last_number": last_number,
        "after_answer_marker": after_answer_marker,
        "after_the_answer_is": after_the_answer_is,
        "boxed": boxed,
        "text": whole_text,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\sqrt{35}", "35"),
        (r"35\pi", "35"),
        ("(3,5)", "3,5"),
        (r"\frac 35", "35"),
        ("2x", "2"),
        ("3i", "3"),
        ("2,5", "2,5"),
        ("\u20135", "5"),
        ("negative 5", "5"),
        ("3 1/2", "1/2"),
        ("1 000", "000"),
        ("x2", "2"),
        ("5\u00b2", "5"),
        ("7{,}250", "250"),
    ],
)
def test_the_last_number_stays_what_was_published(text: str, expected: str) -> None:
    """Whoever asks for it by name gets the numbers of before, also where they are parts of something else."""
    assert last_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is: 5", "5"),
        ("the answer is 5 apples.\nBye 6", "5 apples."),
        ("The answer is 4. No, the final answer is (B)", "(B)"),
        ("THE CORRECT ANSWER IS:\n 7", "7"),
        ("The answer is:", None),
        ("The answer isn\u2019t 5, the answer island", None),
        ("5", None),
        ("", None),
    ],
)
def test_after_the_answer_is(text: str, expected: str | None) -> None:
    assert after_the_answer_is(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"\boxed {x_{1}}", "x_{1}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{\boxed{3}}", "3"),
        # Cut in the middle: what stands in the box before it was no answer.
        (r"\boxed{4} and \boxed{\frac{1}{2", None),
        (r"\boxed{}", None),
        (r"\boxed 5", None),
        ("5", None),
    ],
)
def test_boxed(text: str, expected: str | None) -> None:
    assert boxed(text) == expected


def test_the_whole_text() -> None:
    assert [whole_text(text) for text in (" a\nb ", "", " ")] == ["a\nb", None, None]


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_what_a_model_writes_is_found(name: str) -> None:
    assert find_extractor(name).of_reference("42") == "42"
    assert find_extractor(name)("") is None


def test_an_unknown_extractor_is_named() -> None:
    with pytest.raises(UserError, match=r"task\.extractor: unknown extractor 'boxd': did you mean 'boxed'"):
        find_extractor("boxd")
