"""From generated text to an answer that can be compared.

An extractor takes the decoded text after the latent steps and returns the piece that holds the answer, or None.
`canonical_answer` and `canonical_text` bring that piece into one spelling per value, so that equal answers are equal
strings: votes are counted on it. `numbers_agree` compares numbers with the reference, within a tolerance.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

Extractor = Callable[[str], str | None]

TOLERANCE: Final = Fraction(1, 1000)
"""Numbers that are less than this apart count as equal when an answer is compared with its reference.

The programs that made GSM-Hard's references compute in floating point, and the paper that published them counts
answers that are closer than 1e-3 as right (PAL, Gao et al. 2022, arXiv 2211.10435). It is absolute: among whole
numbers it changes nothing, and a reference below 0.001 is met by "0".
"""
MAX_EXPONENT: Final = 308
"""Numbers with a power of ten further from zero than this, which a double cannot hold either, are not read."""
MAX_CHARACTERS: Final = 1000
"""Numbers whose spelling is longer than this are not read."""

_UNSIGNED = r"(?:[0-9]+(?:,[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NUMBER = re.compile(rf"[-+]?\$?{_UNSIGNED}(?:\s?/\s?{_UNSIGNED})?")
# With a further decimal point it is no number at all, and must not be taken for its last part.
_RUN = re.compile(rf"{_NUMBER.pattern}(?:\.[0-9]+)*")
_MINUS = str.maketrans({"\u2212": "-", "\ufe63": "-", "\uff0d": "-"})
# A number that is a part of something else ("--5", "x2", "3^2") has another value than its digits alone.
_GLUED_BEFORE = re.compile(r"(?:[\w.^√/]|[-+]\s*[$£€]?\s*)\Z")
_GLUED_BEHIND = re.compile(r"\s*[/^]|\.[0-9]")


def after_last_hash(text: str) -> str | None:
    """Return what follows the last "#", the format of COCONUT checkpoints; None without a "#"."""
    _, mark, tail = text.rpartition("#")
    return tail.strip() if mark else None


def last_number(text: str) -> str | None:
    """Return the last number in the text, the format of CODI checkpoints; None without a number."""
    numbers = _RUN.findall(text.translate(_MINUS))
    return numbers[-1].replace("$", "") if numbers else None


def after_answer_marker(text: str) -> str | None:
    """Return what follows the last "Answer:" without "#" around it, the format of CoLaR checkpoints; None without."""
    _, mark, tail = text.rpartition("Answer:")
    return tail.strip().strip("#").strip() if mark else None


EXTRACTORS: dict[str, Extractor] = {
    "after_last_hash": after_last_hash,
    "last_number": last_number,
    "after_answer_marker": after_answer_marker,
}

EXTRACTOR_VERSIONS: Mapping[str, int] = {}
"""Versions of shipped extractors whose behaviour has changed; 1 where one is not named. See `Grader.version`."""


def canonical_answer(text: str | None) -> str | None:
    """Bring the one number of a text into its one canonical spelling.

    Thousands separators, currency and percent signs, unit words and insignificant zeros go: "1,234", "$1234.0" and
    "1234 apples" all become "1234". Powers of ten are written out ("1e3" is "1000"), and so are ratios ("3/4" is
    "0.75") unless their digits would never end: those stay ratios in lowest terms ("2/6" is "1/3").

    Returns:
        The canonical spelling, or None where the text does not hold exactly one number ("5 or 6" is ambiguous): such
        an answer is wrong and never votes.
    """
    value = _value(text)
    spelled = None if value is None else _spell(value)
    return spelled if spelled is None or len(spelled) <= MAX_CHARACTERS else None


def numbers_agree(answer: str, reference: str) -> bool:
    """Whether both texts hold one number each and these differ by less than the tolerance."""
    left, right = _value(answer), _value(reference)
    return left is not None and right is not None and abs(left - right) < TOLERANCE


def canonical_text(text: str | None) -> str | None:
    """Bring an answer in words into its one spelling: lower case, single spaces, no period at its end.

    Returns:
        The canonical spelling, or None where nothing is left.
    """
    return " ".join((text or "").casefold().split()).rstrip(". ") or None


def _value(text: str | None) -> Fraction | None:
    """Return the one number that a text holds."""
    plain = (text or "").translate(_MINUS)
    found = list(_NUMBER.finditer(plain))
    if len(found) != 1:
        return None
    before, behind = plain[: found[0].start()], plain[found[0].end() :]
    if _GLUED_BEFORE.search(before) or _GLUED_BEHIND.match(behind) or any(map(str.isnumeric, before + behind)):
        return None
    numerator, _, denominator = re.sub("[$,]", "", found[0].group()).partition("/")
    top, bottom = _decimal_value(numerator.strip()), _decimal_value(denominator.strip() or "1")
    if top is None or not bottom or abs(top / bottom) >= 10 ** (MAX_EXPONENT + 1):
        return None
    return top / bottom


def _decimal_value(number: str) -> Fraction | None:
    """Return the value of a decimal number; None where it is too long or would fill the memory."""
    _, _, exponent = number.lower().partition("e")
    # Looked at before anything is computed: "1e999999999" has a billion digits.
    if len(number) > MAX_CHARACTERS or abs(int(exponent or 0)) > MAX_EXPONENT:
        return None
    return Fraction(number)


def _spell(value: Fraction) -> str | None:
    """Write a number out; None where it has too many decimals."""
    rest, decimals = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        decimals = max(decimals, power)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    if decimals > MAX_CHARACTERS:
        return None
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    return ("-" if value < 0 else "") + whole + (f".{fraction}" if fraction else "")
