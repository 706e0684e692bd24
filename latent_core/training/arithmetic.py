"""Annotated calculations, such as `<<48/2=24>>` of GSM8K: parsed, and recomputed exactly (Cobbe et al., 2110.14168).

A calculation is a row of tokens, numbers among them, and a result. Numbers are fractions, so that nothing is rounded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|[-+*/()]")
_NUMBER = re.compile(r"\d|\.")


@dataclass(frozen=True)
class Calculation:
    """One step of a solution.

    Attributes:
        tokens: Numbers, operators and parentheses, in order.
        result: What the solution says it comes to, as it is written there.
    """

    tokens: tuple[str, ...]
    result: str

    @property
    def text(self) -> str:
        """The calculation as GSM8K annotates it."""
        return f"<<{''.join(self.tokens)}={self.result}>>"

    @property
    def numbers(self) -> dict[int, Fraction]:
        """The value of each number, by its place among the tokens."""
        return {place: Fraction(token) for place, token in enumerate(self.tokens) if is_number(token)}


def is_number(token: str) -> bool:
    """Whether a token of a calculation is a number."""
    return _NUMBER.match(token) is not None


def calculations_of(solution: str) -> tuple[Calculation, ...] | None:
    """Return the annotated calculations of a solution in order; None where one of them cannot be read.

    A chain such as `<<2*3=6=6>>`, and a result that is no plain number, cannot.
    """
    found = []
    for annotation in _ANNOTATION.findall(solution):
        left, equals, result = "".join(annotation.split()).rpartition("=")
        tokens = tuple(_TOKEN.findall(left))
        if not equals or "".join(tokens) != left or result not in _TOKEN.findall(result) or not is_number(result):
            return None
        if evaluate(tokens) is None:
            return None
        found.append(Calculation(tokens, result))
    return tuple(found)


def evaluate(tokens: Sequence[str | Fraction]) -> Fraction | None:
    """Return what a row of tokens comes to, with the usual precedence; None where it is no expression, or divides by 0.

    Args:
        tokens: Numbers as text or as values, "+", "-", "*", "/", "(" and ")".
    """
    reader = _Reader(tokens)
    try:
        value = reader.sum()
    except (_NoExpression, ZeroDivisionError):
        return None
    return value if reader.at_end else None


class _NoExpression(Exception):
    """Something stands where an expression needs something else."""


class _Reader:
    """Recursive descent: sums of products of signed numbers and parentheses."""

    def __init__(self, tokens: Sequence[str | Fraction]) -> None:
        self._tokens, self._place = tokens, 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._tokens)

    def sum(self) -> Fraction:
        value = self._product()
        while self._next_is("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while self._next_is("*", "/"):
            value = value * self._factor() if self._take() == "*" else value / self._factor()
        return value

    def _factor(self) -> Fraction:
        if self.at_end:
            raise _NoExpression
        token = self._take()
        if token == "-":
            return -self._factor()
        if token == "(":
            value = self.sum()
            if not self._next_is(")"):
                raise _NoExpression
            self._take()
            return value
        if isinstance(token, str) and not is_number(token):
            raise _NoExpression
        return Fraction(token)

    def _next_is(self, *wanted: str) -> bool:
        return not self.at_end and self._tokens[self._place] in wanted

    def _take(self) -> str | Fraction:
        self._place += 1
        return self._tokens[self._place - 1]
