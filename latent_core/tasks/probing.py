"""Graders asked before they are trusted: answers that are wrong for sure are judged, and none of them may be right.

A scorer of another package may give full marks to any text, to "0", to the wrong sign or to half the digits; curves
made with it would look like any others. Nothing is known of such a grader but what it says, so one problem proves
little: "0" may be the answer, and a puzzle has several. What counts is a wrong answer that is right nearly everywhere,
though the references differ.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from latent_core.answers.grading import find_grader
from latent_core.tasks.base import Problem

CONSTANTS = ("0", "1", "-1", "42", "yes", "no", "true", "false", "a", "none", "[]", "what?", "I do not know")
"""Answers that somebody gives who has not read the question."""

_FIRST_LOOK, _PROBLEMS = 4, 24
"""Problems on which every wrong answer is tried, and those on which one is tried that was right among the first."""
_FEWEST = 3
_NEARLY_ALWAYS, _HALF = 0.8, 0.5
_NUMBER = re.compile(r"([-+]?)([0-9]+)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_PRECISION = re.compile(r"([0-9]+)\s+(?:significant|decimal)")

_Wrong = Callable[[Problem, Problem], str | None]
"""From a problem, and another one with another reference, to an answer; None where nobody knows that it is wrong."""


@dataclass
class _Probe:
    """A way to answer wrongly, and what a grader made of it.

    Attributes:
        name: What it is, for people.
        wrong: Makes the answer.
        surely: Whether its answers are wrong for sure, which those of other problems and constants are not: there may
            be several right ones.
        asked: The references against which it was judged.
        taken: Answer and reference, where it was right.
    """

    name: str
    wrong: _Wrong
    surely: bool
    asked: list[str] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)

    def judge(self, problem: Problem, other: Problem) -> None:
        answer = self.wrong(problem, other)
        canonical = problem.canonical(answer)
        if answer is None or canonical is None:
            return
        self.asked.append(problem.answer)
        if problem.is_correct(canonical):
            self.taken.append((answer, problem.answer))

    def is_fault(self) -> bool:
        if len(self.asked) < _FEWEST:
            return False
        if self.surely:
            return len(self.taken) >= _HALF * len(self.asked)
        # An alias of the one answer that most problems have is right: what passes has to pass for different answers.
        references, taken = set(self.asked), {reference for _, reference in self.taken}
        return len(taken) >= max(2, _NEARLY_ALWAYS * len(references))


def needs_probing(problems: Sequence[Problem]) -> bool:
    """Whether the answers are judged by a grader that was made for one task; others compare with the reference."""
    return any(not find_grader(problem.grader).fits_any_data for problem in problems[:1])


def find_fault(problems: Sequence[Problem]) -> str | None:
    """Return what a grader wrongly takes for right, in words; None where nothing was found.

    Args:
        problems: The problems of a task. A task with few, or with a single reference, cannot be judged.
    """
    chosen = _spread(problems)
    pairs = [(one, other) for one in chosen if (other := _with_another_reference(one, chosen)) is not None]
    probes = list(_probes())
    # What such scorers print or warn of is not for whoever reads the plan.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (problem, other) in enumerate(pairs):
            if number == _FIRST_LOOK:
                # Some scorers take a tenth of a second: what has been wrong so far is not right nearly always.
                probes = [probe for probe in probes if probe.taken or len(probe.asked) < _FEWEST]
            for probe in probes:
                probe.judge(problem, other)
    fault = next((probe for probe in probes if probe.is_fault()), None)
    if fault is None:
        return None
    answer, reference = fault.taken[0]
    return (
        f"{fault.name} for right in {len(fault.taken)} of {len(fault.asked)} problems, such as {answer[:40]!r} where "
        f"the answer is {reference[:40]!r}"
    )


def _spread(problems: Sequence[Problem]) -> list[Problem]:
    """Return some problems from everywhere, those first whose references have not been there yet."""
    some = [problems[index * len(problems) // _PROBLEMS] for index in range(_PROBLEMS)] if problems else []
    seen: set[str] = set()
    first: list[Problem] = []
    again: list[Problem] = []
    for problem in dict.fromkeys(some):
        (again if problem.answer in seen else first).append(problem)
        seen.add(problem.answer)
    return first + again


def _with_another_reference(problem: Problem, others: Sequence[Problem]) -> Problem | None:
    where = others.index(problem)
    for other in (*others[where + 1 :], *others[:where]):
        if _differ(problem.answer, other.answer):
            return other
    # Without references constants can be tried still.
    return problem if not problem.answer else None


def _probes() -> Iterator[_Probe]:
    for constant in CONSTANTS:
        yield _Probe(f"{constant!r}", _Constant(constant), surely=False)
    yield _Probe("the answer of another problem", _another_answer, surely=False)
    yield _Probe("the number of another problem", _another_number, surely=True)
    yield _Probe("the number with the wrong sign", _negated, surely=True)
    yield _Probe("the number after the right one", _one_more, surely=True)
    yield _Probe("half of the digits", _half_the_digits, surely=True)


@dataclass(frozen=True)
class _Constant:
    text: str

    def __call__(self, problem: Problem, other: Problem) -> str | None:
        return self.text if _differ(problem.answer, self.text) else None


def _another_answer(problem: Problem, other: Problem) -> str | None:
    return other.answer if _differ(problem.answer, other.answer) else None


def _another_number(problem: Problem, other: Problem) -> str | None:
    numbers = _value(problem.answer), _value(other.answer)
    return other.answer.strip() if None not in numbers and numbers[0] != numbers[1] else None


def _negated(problem: Problem, other: Problem) -> str | None:
    reference = problem.answer.strip()
    if not _value(reference):
        return None
    return reference[1:] if reference[0] == "-" else "-" + reference.lstrip("+")


def _one_more(problem: Problem, other: Problem) -> str | None:
    match = _NUMBER.fullmatch(problem.answer.strip())
    return None if match is None or match[3] or match[4] else str(int(match[0]) + 1)


def _half_the_digits(problem: Problem, other: Problem) -> str | None:
    """Return the reference with half of the digits that the question asks for, or that the reference has."""
    reference = problem.answer.strip()
    match = _NUMBER.fullmatch(reference)
    if match is None:
        return None
    sign, whole, decimals, exponent = (part or "" for part in match.groups())
    digits = len((whole + decimals[1:]).lstrip("0"))
    asked = _PRECISION.search(problem.question)
    kept = (min(digits, int(asked[1])) if asked else digits) // 2
    leading = len(whole + decimals[1:]) - digits
    if kept < 1:
        return None
    mantissa = (whole + decimals)[: leading + kept + (leading + kept > len(whole))]
    shorter = f"{sign}{mantissa}{exponent}"
    return shorter if _value(shorter) != _value(reference) else None


def _differ(one: str, other: str) -> bool:
    """Whether two answers are different, whatever their case and spacing, and as numbers if they are numbers."""
    if " ".join(one.casefold().split()) == " ".join(other.casefold().split()):
        return False
    left, right = _value(one), _value(other)
    return left is None or right is None or left != right


def _value(text: str) -> Decimal | None:
    return Decimal(text.strip()) if _NUMBER.fullmatch(text.strip()) else None
