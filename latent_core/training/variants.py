"""Number variants of annotated word problems: other numbers in the question, and the solution recomputed.

A number of the question varies if it stands there once, and if wherever its value stands in the annotated calculations
that can only be this number. Every other number of the calculations has to be the result of an earlier one, a number of
the question that stays, or one that a word of the question says (half, dozen, week); a problem with any other number is
left as it is, since that number may have been worked out from one that would vary.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Final, Self

from latent_core.training.arithmetic import Calculation, evaluate

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
_ATTEMPTS: Final = 40
_YEARS: Final = range(1900, 2101)
_PERCENTS: Final = 100
_LARGEST_CHANGE: Final = 2
"""Numbers of the question become at most twice or half of what they were."""
_LARGEST_CHANGE_OF_RESULTS: Final = 4
_SMALL = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    **{word: (str(value),) for value, word in enumerate(_SMALL, start=1)},
    **{"thirteen": ("13",), "fourteen": ("14",), "fifteen": ("15",), "sixteen": ("16",), "eighteen": ("18",)},
    **{"twenty": ("20",), "thirty": ("30",), "forty": ("40",), "fifty": ("50",), "sixty": ("60",), "hundred": ("100",)},
    **{"once": ("1",), "single": ("1",), "first": ("1",), "each": ("1",), "another": ("1",), "a": ("1",)},
    **{"twice": ("2",), "double": ("2",), "doubled": ("2",), "doubles": ("2",), "both": ("2",), "pair": ("2",)},
    **{"pairs": ("2",), "couple": ("2",), "second": ("2",), "half": ("2", "1", ".5", "1/2"), "halves": ("2",)},
    **{"triple": ("3",), "tripled": ("3",), "thrice": ("3",), "third": ("3", "1"), "thirds": ("3", "2")},
    **{"quarter": ("4", "1", ".25", "25"), "quarters": ("4", "3"), "fourth": ("4", "1"), "fifth": ("5", "1")},
    **{"fifths": ("5",), "sixth": ("6", "1"), "dozen": ("12",), "dozens": ("12",), "week": ("7",), "weeks": ("7",)},
    **{"weekly": ("7",), "weekend": ("2",), "daily": ("7",), "day": ("24", "7"), "days": ("24", "7")},
    **{"hour": ("60",), "hours": ("60",), "minute": ("60",), "minutes": ("60",), "seconds": ("60",)},
    **{"month": ("30", "4", "12"), "months": ("12", "30"), "monthly": ("12",), "year": ("12", "52", "365")},
    **{"years": ("12", "52"), "annual": ("12",), "foot": ("12",), "feet": ("12",), "inches": ("12",), "yard": ("3",)},
    **{"yards": ("3",), "pound": ("16",), "pounds": ("16",), "ounces": ("16",), "cents": ("100", ".01")},
    **{"percent": ("100", ".01"), "dollar": ("100",), "dollars": ("100",)},
}
"""Values of numbers that words say, besides digits."""


@dataclass(frozen=True)
class AnnotatedProblem:
    """A word problem with its calculations.

    Attributes:
        question: The text.
        calculations: The steps of the reference solution, the last one of which gives the answer.
        answer: The reference answer.
    """

    question: str
    calculations: tuple[Calculation, ...]
    answer: str


@dataclass(frozen=True)
class _Number:
    """A number of a question, by digits: where it stands, its value, and whether other digits could stand there."""

    start: int
    end: int
    value: Fraction
    replaceable: bool
    percent: bool


@dataclass(frozen=True)
class NumberVariants:
    """What can vary in a problem, and how its calculations hang together.

    Attributes:
        problem: The problem.
        varying: The numbers of the question that vary.
        fixed: Values of those that do not.
        sources: For each number of each calculation, by its place: the index of the calculation whose result it is, as
            a negative number counted from -1; the index of the varying number that it is; None where it stays.
    """

    problem: AnnotatedProblem
    varying: tuple[_Number, ...]
    fixed: tuple[Fraction, ...]
    sources: tuple[Mapping[int, int | None], ...] = field(repr=False)

    @classmethod
    def of(cls, problem: AnnotatedProblem) -> Self | None:
        """Find what can vary; None where nothing can, or nobody can tell."""
        found = _numbers_in(problem.question)
        times, said = Counter(one.value for one in found), _values_said(problem.question)
        results = [Fraction(one.result) for one in problem.calculations]
        if not results or str(results[-1]) != problem.answer.replace(",", "") or not _is_sound(problem, results):
            return None
        # The same value as a given number and as a result: nobody could tell which one a later step reads.
        if set(results) & set(times) or len(set(results)) < len(results):
            return None
        used = {value for one in problem.calculations for value in one.numbers.values()}
        varying = tuple(
            one
            for one in found
            if one.replaceable and one.value in used and times[one.value] == 1 and one.value not in said
        )
        sources = _sources(problem.calculations, results, [one.value for one in varying], {*times, *said})
        if not varying or sources is None:
            return None
        return cls(problem, varying, tuple(one.value for one in found if one not in varying), sources)

    def draw(self, rng: random.Random) -> AnnotatedProblem | None:
        """Return a variant; None where no drawn numbers keep all results whole, positive and alike in size."""
        for _ in range(_ATTEMPTS):
            values = [_similar(one, rng) for one in self.varying]
            if values == [one.value for one in self.varying] or not self._same_order(values):
                continue
            calculations = self._recomputed(values)
            if calculations is not None:
                return AnnotatedProblem(self._retold(values), calculations, calculations[-1].result)
        return None

    def _same_order(self, values: Sequence[int]) -> bool:
        """Whether what was more is still more, and what differed still differs: questions compare their numbers."""
        before = [*(one.value for one in self.varying), *self.fixed]
        after = [*map(Fraction, values), *self.fixed]
        order = sorted(range(len(before)), key=before.__getitem__)
        return all(after[low] < after[high] for low, high in pairwise(order) if before[low] < before[high])

    def _recomputed(self, values: Sequence[int]) -> tuple[Calculation, ...] | None:
        results: list[int] = []
        recomputed = []
        for calculation, sources in zip(self.problem.calculations, self.sources, strict=True):
            tokens = list(calculation.tokens)
            for place, source in sources.items():
                if source is not None:
                    tokens[place] = str(results[-source - 1] if source < 0 else values[source])
            value, before = evaluate(tokens), Fraction(calculation.result)
            if value is None or value.denominator != 1 or value <= 0:
                return None
            if not before <= value * _LARGEST_CHANGE_OF_RESULTS <= before * _LARGEST_CHANGE_OF_RESULTS**2:
                return None
            results.append(int(value))
            recomputed.append(Calculation(tuple(tokens), str(results[-1])))
        return tuple(recomputed)

    def _retold(self, values: Sequence[int]) -> str:
        text, end = "", 0
        for one, value in zip(self.varying, values, strict=True):
            grouped = "," in self.problem.question[one.start : one.end]
            text += self.problem.question[end : one.start] + (f"{value:,}" if grouped else str(value))
            end = one.end
        return text + self.problem.question[end:]


def _numbers_in(question: str) -> list[_Number]:
    return [
        _Number(
            match.start(),
            match.end(),
            value := Fraction(match.group().replace(",", "")),
            _is_replaceable(question, match, value),
            question[match.end() :].lstrip().startswith(("%", "percent")),
        )
        for match in _NUMBER.finditer(question)
    ]


def _is_replaceable(question: str, match: re.Match[str], value: Fraction) -> bool:
    """Whether any whole number could stand here: not in 3/4, 8:30, 2nd, 1-2, a year, or where there is one thing."""
    before, behind = question[: match.start()][-1:], question[match.end() :][:2]
    joined = before in ("/", ":", "-", ".", "#") or before.isalnum() or behind[:1] in ("/", ":") or behind[:1].isalnum()
    is_range = behind[:1] == "-" and behind[1:].isdigit()
    return not joined and not is_range and value.denominator == 1 and value >= 2 and value not in _YEARS


def _values_said(question: str) -> set[Fraction]:
    words = {*re.findall(r"[a-z]+", question.lower()), *(["percent"] if "%" in question else [])}
    return {Fraction(value) for word in words for value in _SAID.get(word, ())} | (
        {Fraction(100)} if "$" in question else set()
    )


def _is_sound(problem: AnnotatedProblem, results: Sequence[Fraction]) -> bool:
    """Whether every calculation comes to what it says, exactly, and that is whole and positive."""
    return all(
        evaluate(one.tokens) == result and result.denominator == 1 and result > 0
        for one, result in zip(problem.calculations, results, strict=True)
    )


def _sources(
    calculations: Sequence[Calculation], results: Sequence[Fraction], varying: Sequence[Fraction], known: set[Fraction]
) -> tuple[Mapping[int, int | None], ...] | None:
    """Return where the numbers of calculations come from; None where one comes from nowhere."""
    sources: list[Mapping[int, int | None]] = []
    for index, calculation in enumerate(calculations):
        own: dict[int, int | None] = {}
        for place, value in calculation.numbers.items():
            if value in results[:index]:
                own[place] = -1 - results.index(value)
            elif value in varying:
                own[place] = varying.index(value)
            elif value in known:
                own[place] = None
            else:
                return None
        sources.append(own)
    return tuple(sources)


def _similar(number: _Number, rng: random.Random) -> int:
    """Draw a number of like size that is as round: 40 becomes 20, 30, ... 80."""
    value, step = int(number.value), 1
    while value % (step * 10) == 0:
        step *= 10
    if step == 1 and value % 5 == 0 and value > 5:
        step = 5
    largest = min(value * _LARGEST_CHANGE, _PERCENTS - 1) if number.percent else value * _LARGEST_CHANGE
    least = max(2, -(-value // _LARGEST_CHANGE))
    return step * rng.randint(-(-least // step), max(-(-least // step), largest // step))
