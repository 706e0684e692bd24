"""Numbers in text: the grammar by which they are read, and one spelling per value.

`canonical_answer` and `canonical_text` bring an answer into one spelling per value, so that equal answers are equal
strings: votes are counted on it. `numbers_agree` compares numbers with the reference, within a tolerance.

The grammar of `canonical_answer`, applied to words between blanks (and "=", which parts words):

    number   = (sign currency? | currency sign?)? unsigned ("/" currency? unsigned)? unit?
    unsigned = (grouped | digits) ("." digits?)? exponent? | "." digits exponent?
    grouped  = 1 to 3 digits, the first not 0, then one or more of "," and three digits
    exponent = ("e" | "E") ("+" | "-")? digits
    sign     = "+", "-", or a minus sign, hyphen or en dash of typography
    unit     = "%", "°", "°C", "°F", or a currency sign

A text is read if exactly one of its words is a number and every other word is a word of language: without digits of any
script, without signs of mathematics, and none that makes another number of it ("negative", "half", "million").
"""

import re
import unicodedata
from fractions import Fraction
from typing import Final

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

_CURRENCY = "[$£€¥₹]"
_UNSIGNED = r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NUMBER = re.compile(
    rf"(?:[-+]{_CURRENCY}?|{_CURRENCY}[-+]?)?(?P<top>{_UNSIGNED})(?:/{_CURRENCY}?(?P<bottom>{_UNSIGNED}))?"
    rf"(?:%|°[CF]?|{_CURRENCY})?"
)
# Hyphens and dashes that stand for a minus in front of a digit. An em dash is punctuation and never one.
_MINUS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
# Only a true minus sign may stand apart from its number: with a blank behind it, "-" may be a bullet or a dash.
_MINUS_APART = re.compile(rf"(?<!\S)[\u2212\ufe63\uff0d]\s(?={_CURRENCY}?[0-9.])")
_RATIO = re.compile(r"(?<=[0-9])\s?/\s?(?=[$£€¥₹.0-9])")
# Signs of equality part words; "<=", "==" and ":=" are something else.
_EQUALS = re.compile(r"(?<![<>!=:])=(?!=)|[≈~]")

# What LaTeX writes around a number without changing it.
_MARKUP = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|boxed|fbox)\s*\{([^{}\\]*)\}")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})")
_LATEX = (("{,}", ","), (r"\!", ""), (r"\$", "$"), (r"\%", "%"), (r"\,", " "), (r"\;", " "), ("\\ ", " "))
_DELIMITERS = re.compile(r"\\[()\[\]]|\$\$")

_QUOTES = "\"'`*_\u201c\u201d\u2018\u2019«»"
_STOPS = ".,;:?…"
_EDGES = _QUOTES + _STOPS + "!()[]#°"
_LONE = frozenset("$£€¥₹%#°" + _QUOTES + _STOPS) - {"*"}
_NEVER_IN_WORDS = frozenset("\\^*{}()[]=@_/")
_OTHER_NUMBERS = re.compile(
    "negative|minus|half|halves|dozens?|hundreds?|thousands?|millions?|billions?|trillions?|squared|cubed|factorial|"
    "pi|\u03c0|root|sqrt|log|ln|exp|sin|cos|tan"
)
"""Words that make another number of the one beside them, or a part of one."""
_UNIT_LETTERS = frozenset("mglLshCF")
"""Single letters that are units behind a number; any other is a variable, and the number its factor."""


def canonical_answer(text: str | None) -> str | None:
    """Bring the one number of a text into its one canonical spelling.

    Thousands separators, currency and percent signs, unit words and insignificant zeros go: "1,234", "$1234.0" and
    "1234 apples" all become "1234". Powers of ten are written out ("1e3" is "1000"), and so are ratios ("3/4" is
    "0.75") unless their digits would never end: those stay ratios in lowest terms ("2/6" is "1/3").

    Returns:
        The canonical spelling, or None where the text does not hold exactly one number by the grammar at the head of
        this module ("5 or 6" is ambiguous, "2x" another number): such an answer is wrong and never votes.
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


def canonical_fraction(value: Fraction) -> str | None:
    """Write an exact value as `canonical_answer` spells it; None where it is too long."""
    spelled = _spell(value)
    return spelled if spelled is not None and len(spelled) <= MAX_CHARACTERS else None


def _value(text: str | None) -> Fraction | None:
    """Return the one number that a text holds."""
    found: re.Match[str] | None = None
    behind_number = False
    for word in _words(text or ""):
        number = _NUMBER.fullmatch(_bare(word))
        if number is not None:
            if found is not None:
                return None
            found, behind_number = number, True
        elif word in _LONE:
            continue
        elif any(map(str.isnumeric, word)) or not _is_language(word, behind_number):
            return None
        else:
            behind_number = False
    return None if found is None else _computed(found)


def _words(text: str) -> list[str]:
    """Part a text into words, without the markup that changes no value."""
    plain = _DEGREES.sub("°", text)
    for mark, meaning in _LATEX:
        plain = plain.replace(mark, meaning)
    plain = _DELIMITERS.sub(" ", _MARKUP.sub(r" \1 ", plain))
    plain = _MINUS_APART.sub("-", plain).translate(_MINUS)
    return _EQUALS.sub(" ", _RATIO.sub("/", plain)).split()


def _bare(word: str) -> str:
    """Return a word without the quotes and stops around it; "!" stays, which behind a number is a factorial."""
    bare = word.strip(_QUOTES + "#").rstrip(_STOPS + _QUOTES)
    return bare[1:-1] if len(bare) > 2 and bare[0] == bare[-1] == "$" else bare


def _is_language(word: str, behind_number: bool) -> bool:
    """Whether a word without digits leaves the number beside it what it is."""
    bare = word.strip(_EDGES)
    if not bare:
        # Marks alone: stops and quotes say nothing, "*" and "!" may be signs of mathematics.
        return set(word) <= _LONE or word == "**"
    if _OTHER_NUMBERS.fullmatch(bare.casefold()):
        return False
    if behind_number and len(bare) == 1 and bare not in _UNIT_LETTERS:
        return False
    inner = bare.replace("/", "") if bare[0] != "/" != bare[-1] else bare
    return (
        not _NEVER_IN_WORDS & set(inner)
        and unicodedata.category(bare[0]) != "Pd"
        and unicodedata.category(bare[-1]) != "Pd"
        and any(map(str.isalpha, bare))
        and not any(unicodedata.category(letter) == "Sm" for letter in bare)
    )


def _computed(number: re.Match[str]) -> Fraction | None:
    """Return the value of what the grammar has matched; None where it is beyond what is read."""
    top, bottom = _decimal_value(number["top"]), _decimal_value(number["bottom"] or "1")
    if top is None or not bottom or abs(top / bottom) >= 10 ** (MAX_EXPONENT + 1):
        return None
    # Signs stand in front of the digits; one in an exponent stands behind them.
    negative = "-" in number.string[: number.start("top")]
    return -top / bottom if negative else top / bottom


def _decimal_value(number: str) -> Fraction | None:
    """Return the value of an unsigned number; None where it is too long or would fill the memory."""
    digits, _, exponent = number.replace(",", "").lower().partition("e")
    # Looked at before anything is computed: "1e999999999" has a billion digits.
    if len(number) > MAX_CHARACTERS or abs(int(exponent or 0)) > MAX_EXPONENT:
        return None
    return Fraction(f"{digits}e{exponent}" if exponent else digits)


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
