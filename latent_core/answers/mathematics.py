r"""Answers in mathematics, as the references of MATH spell them: read by the library math-verify.

A number by the grammar of `canonical_answer` is read as there. LaTeX is read into an expression, whose canonical form
is sympy's printing of it, multiplied out: `\frac 35` is "0.6", `x(x+1)` and `x^2+x` are one spelling. Words
(`\text{east}`), and LaTeX that is beyond the limits below, are compared as they stand, without markup. What is right
is decided on this spelling too: the library's own comparison looks at pairs, and two answers that it calls equal could
not be counted as one vote.

Limits stand before anything is parsed, because nothing stops a computation afterwards: the library's own time limits
are alarms (signals), which exist in a process's main thread only, and actors work in others. A form is therefore only
computed with if every command in it is known to cost little and its powers are small.
"""

import logging
import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from latent_core.answers.grading import GRADERS, Grader
from latent_core.answers.parsing import canonical_answer, canonical_fraction
from latent_core.errors import UserError

MATH: Final = "math"
"""Mathematics, right if its canonical form is that of the reference."""

_MAX_CHARACTERS = 150
_MAX_DEPTH = 4
_MAX_DIGITS = 30
_MAX_POWER = 1000
_MAX_EXPANDED_POWER = 10
_MAX_OPERATIONS = 40

_MARKUP = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"(?<!\\)\\(?:[,;:! ]|quad\b|qquad\b|displaystyle\b|left\b|right\b|boxed\b|fbox\b)|~")
_SIGNS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-") | {"\u00d7": r"\times ", "\u03c0": r"\pi "}
)
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_HARMLESS = re.compile(
    "[dtc]?frac|sqrt|pi|theta|alpha|beta|gamma|lambda|mu|phi|omega|infty|cdot|times|div|pm|cup|cap|in|leq?|geq?|lt|gt|"
    "neq?|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|circ|angle|begin|end|emptyset|varnothing|mathbb"
)
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_FUNCTIONS = re.compile("sin|cos|tan|cot|sec|csc|log|exp|sqrt|[pb]matrix")
_POWER = re.compile(r"(?:\^|\*\*)\s*(\{[^{}]*\}|\([^()]*\)|-?[0-9.]+|\\?[a-zA-Z]+)")
_PRODUCT_IN_BRACKETS = re.compile(r"[0-9)]\s*\(\s*[0-9.]+\s*\)")
_SUBSCRIPT_BASE = re.compile(r"[0-9]\s*_")


def prepare() -> None:
    """Look for the library.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import math_verify  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise UserError(
            f"task.grader: math needs the math-verify package, which cannot be imported ({error}); "
            "run `pip install 'latentswarm[math]'`"
        ) from error


def canonical_mathematics(text: str | None) -> str | None:
    """Bring a mathematical answer into its one spelling.

    Returns:
        The canonical spelling, or None where nothing is left.

    Raises:
        UserError: If the library is needed and not installed.
    """
    # A percent sign or a unit is read off as the numeric grader does.
    number = canonical_answer(text)
    return number if number is not None else _spelled(text or "")


@lru_cache(maxsize=65536)
def _spelled(text: str) -> str | None:
    plain = _plain(text)
    # "x \\in [-1, 4]" says no more than the interval does.
    parts = _list(re.sub(r"^[a-zA-Z]\s*\\in\s*(?=[(\[])", "", plain))
    if parts is not None:
        opening, items, closing = parts
        return opening + ", ".join(canonical_mathematics(item) or "" for item in items) + closing
    expression = _expression(plain)
    if expression is None:
        return " ".join(plain.casefold().rstrip(". ").split()) or None
    return _print(expression, plain)


def _plain(text: str) -> str:
    """Return LaTeX without delimiters, spacing and text markup."""
    plain = text.translate(_SIGNS).strip().rstrip(".").strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if plain.startswith(opening) and plain.endswith(closing) and len(plain) > len(opening + closing):
            plain = plain[len(opening) : -len(closing)].strip()
            break
    plain = plain.replace("{,}", ",").replace(r"\$", "").replace(r"\%", "%")
    return " ".join(_SPACING.sub(" ", _MARKUP.sub(r" \1 ", plain)).split())


def _within_limits(plain: str) -> bool:
    """Whether computing with a form is sure to cost little."""
    if len(plain) > _MAX_CHARACTERS or not plain or any(len(run) > _MAX_DIGITS for run in re.findall(r"[0-9]+", plain)):
        return False
    if not all(map(_HARMLESS.fullmatch, _COMMAND.findall(plain))) or "!" in plain or "$" in plain:
        return False
    # Words would be taken for products of their letters, and a base in a subscript is dropped by the library.
    if not all(map(_FUNCTIONS.fullmatch, _WORD.findall(plain))) or _SUBSCRIPT_BASE.search(plain) or not plain.isascii():
        return False
    # "(3)(5)" is a mixed number to the library: 8.
    return not _PRODUCT_IN_BRACKETS.search(plain) and _nests_little(plain) and _powers(plain) is not None


def _nests_little(plain: str) -> bool:
    """Whether brackets are closed and stand in few others: the library's time doubles with each, or worse."""
    open_brackets: list[str] = []
    for sign in plain:
        if sign in "([{":
            open_brackets.append(sign)
        elif sign in ")]}" and (not open_brackets or (open_brackets.pop() == "{") != (sign == "}")):
            return False
        if len(open_brackets) > _MAX_DEPTH:
            return False
    return not open_brackets and any(map(str.isalnum, plain))


def _powers(plain: str) -> int | None:
    """Return the product of all exponents' numbers; None where it is too large, or one stands on another."""
    exponents = _POWER.findall(plain)
    if len(exponents) != plain.count("^") + plain.count("**") or len(exponents) > 12:
        return None
    if any("^" in exponent or "*" in exponent for exponent in exponents):
        return None
    numbers = [float(number) for exponent in exponents for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", exponent)]
    product = math.prod(max(1.0, number) for number in numbers)
    return int(product) if product <= _MAX_POWER else None


@lru_cache(maxsize=65536)
def _expression(plain: str) -> Any:
    """Parse a form; None where it is beyond the limits, or none of mathematics."""
    if not _within_limits(plain):
        return None
    prepare()
    from math_verify import LatexExtractionConfig, parse

    # The library warns once a process that it has no time limit, which is what `_within_limits` is for.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    found = parse(f"${plain}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if len(found) == 1 else None


def _print(expression: Any, plain: str) -> str | None:
    """Print an expression in a form that equal ones share as far as that costs little."""
    import sympy

    form = expression
    # As in math-verify, only the value of "x = 5" is the answer.
    if isinstance(form, sympy.Equality) and form.lhs.is_Symbol:
        form = form.rhs
    try:
        if isinstance(form, sympy.Expr):
            form = _normal(form, expand=(_powers(plain) or 0) <= _MAX_EXPANDED_POWER)
            if form.has(sympy.zoo, sympy.nan):
                return plain
        if isinstance(form, sympy.MatrixBase):
            form = form.tolist()
        if isinstance(form, sympy.Rational):
            return canonical_fraction(Fraction(int(form.p), int(form.q)))
        return str(sympy.sstr(form, order="lex"))
    except Exception:  # noqa: BLE001 - sympy raises what it likes for forms that have no value
        return plain


def _normal(form: Any, expand: bool) -> Any:
    """Return an expression with exact numbers, roots out of denominators, multiplied out and in lowest terms."""
    import sympy

    form = form.xreplace({number: sympy.Rational(str(number)) for number in form.atoms(sympy.Float)}).doit()
    if not expand or sympy.count_ops(form) > _MAX_OPERATIONS:
        return form
    if not form.free_symbols:
        return sympy.expand(sympy.radsimp(form))
    divided = any(power.exp.is_negative for power in form.atoms(sympy.Pow))
    return sympy.cancel(form) if divided and len(form.free_symbols) <= 3 else sympy.expand(form)


def _list(plain: str) -> tuple[str, list[str], str] | None:
    """Part "(3, 5)" or "[-1, 4)" into brackets and items; None for anything else.

    The library reads all pairs as intervals, of which those that fall, such as the point (5, 3), are all empty.
    """
    if len(plain) < 5 or plain[0] not in "([" or plain[-1] not in ")]":
        return None
    items, depth = [""], 0
    for sign in plain[1:-1]:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(sign, 0)
        if depth < 0:
            return None
        if sign == "," and depth == 0:
            items.append("")
        else:
            items[-1] += sign
    return (plain[0], items, plain[-1]) if len(items) > 1 and depth == 0 and all(map(str.strip, items)) else None


def _is_equal(question: str, reference: str, answer: str) -> bool:
    return answer == canonical_mathematics(reference)


# The canonical form is sympy's printing of what the other two have read.
_LIBRARIES = ("math-verify", "latex2sympy2_extended", "sympy")

GRADERS.register(
    MATH, Grader(canonical_mathematics, _is_equal, fits_any_data=True, prepare=prepare, libraries=_LIBRARIES)
)
