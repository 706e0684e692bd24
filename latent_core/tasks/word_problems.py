"""Short word problems of three to six chained operations, made from a seed.

"Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?" Every word, mark and number is one
token, and every intermediate value lies in 0..499. The bundled reasoner is trained on these problems.

The split of a problem is a hash of its arithmetic core (the start value and the operations, not the names), so
whatever seed a split is drawn with, its arithmetic cannot occur in another split.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task, questions_of
from latent_core.tasks.loading import TASKS

Split = Literal["train", "validation", "test"]
Kind = Literal["add", "subtract", "double", "halve"]

MAX_VALUE = 499
"""Largest start, intermediate and final value; the smallest is 0."""
MAX_OPERAND = 20
"""Largest number added or subtracted in one step."""
MIN_STEPS, MAX_STEPS = 3, 6

_NAMES = {"Ann": "She", "Ben": "He", "Eva": "She", "Leo": "He", "Mia": "She", "Tom": "He"}
_THINGS = ("pens", "cards", "coins", "stamps", "shells", "beads")
_PHRASES: dict[Kind, tuple[str, ...]] = {
    "add": ("buys", "finds", "gets"),
    "subtract": ("loses", "sells", "drops"),
    "double": ("doubles them",),
    "halve": ("halves them",),
}
_SYMBOLS: dict[Kind, str] = {"add": "+", "subtract": "-", "double": "*", "halve": "/"}
_OTHER_WORDS = ("has", "how", "many", ".", "?", "<<", ">>", "=", "###")


@dataclass(frozen=True)
class Operation:
    """One step of a problem: its kind and its number (2 for doubling and halving)."""

    kind: Kind
    operand: int

    def apply(self, value: int) -> int:
        """Return the value after this step; halving takes an even value."""
        match self.kind:
            case "add":
                return value + self.operand
            case "subtract":
                return value - self.operand
            case "double":
                return value * 2
            case "halve":
                return value // 2


@dataclass(frozen=True)
class Core:
    """The arithmetic of a problem: what is left when names, things and verbs are taken away."""

    start: int
    operations: tuple[Operation, ...]

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The value after each operation; the last one is the answer."""
        values = [self.start]
        for operation in self.operations:
            values.append(operation.apply(values[-1]))
        return tuple(values[1:])

    @cached_property
    def split(self) -> Split:
        """The one split this arithmetic may appear in: 90 % train, 5 % validation, 5 % test."""
        spelled = f"{self.start}" + "".join(f"{_SYMBOLS[step.kind]}{step.operand}" for step in self.operations)
        bucket = int.from_bytes(hashlib.blake2b(spelled.encode(), digest_size=4).digest(), "little") % 20
        return {0: "test", 1: "validation"}.get(bucket, "train")  # type: ignore[return-value]

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The reference steps, such as "<<12+7=19>>"."""
        before = (self.start, *self.values[:-1])
        return tuple(
            f"<<{value}{_SYMBOLS[step.kind]}{step.operand}={after}>>"
            for value, step, after in zip(before, self.operations, self.values, strict=True)
        )


def _kinds(value: int) -> list[Kind]:
    """Return the kinds of steps that keep a value within 0..MAX_VALUE, each as often as it is to be drawn."""
    kinds: list[Kind] = []
    if value < MAX_VALUE:
        kinds += ["add", "add"]
    if value > 0:
        kinds += ["subtract", "subtract"]
    if 0 < value <= MAX_VALUE // 2:
        kinds.append("double")
    if value > 0 and value % 2 == 0:
        kinds.append("halve")
    return kinds


def _largest_operand(kind: Kind, value: int) -> int:
    """Return the largest number that may be added to a value or subtracted from it."""
    return min(MAX_OPERAND, MAX_VALUE - value if kind == "add" else value)


def _draw_operation(value: int, rng: random.Random) -> Operation:
    match rng.choice(_kinds(value)):
        case "add" | "subtract" as kind:
            return Operation(kind, rng.randint(1, _largest_operand(kind, value)))
        case kind:
            return Operation(kind, 2)


def _draw_core(rng: random.Random) -> Core:
    start = rng.randint(1, MAX_VALUE)
    value, operations = start, []
    for _ in range(rng.randint(MIN_STEPS, MAX_STEPS)):
        operations.append(_draw_operation(value, rng))
        value = operations[-1].apply(value)
    return Core(start, tuple(operations))


def draw_cores(split: Split, seed: int) -> Iterator[Core]:
    """Yield an endless stream of a split's arithmetic; the same seed gives the same stream."""
    rng = random.Random(f"cores {split} {seed}")
    while True:
        core = _draw_core(rng)
        if core.split == split:
            yield core


def tell(core: Core, rng: random.Random) -> str:
    """Put names, things and verbs around the arithmetic."""
    name, thing = rng.choice(list(_NAMES)), rng.choice(_THINGS)
    sentences = [f"{name} has {core.start} {thing} ."]
    for step in core.operations:
        phrase = rng.choice(_PHRASES[step.kind])
        number = f" {step.operand}" if step.kind in ("add", "subtract") else ""
        sentences.append(f"{_NAMES[name]} {phrase}{number} .")
    return " ".join([*sentences, f"How many {thing} ?"])


def vocabulary() -> list[str]:
    """Return every lower-case token of questions, steps and answers, in a fixed order; numbers come last."""
    phrases = [word for phrase in sum(_PHRASES.values(), ()) for word in phrase.split()]
    words = [*_OTHER_WORDS, *_SYMBOLS.values(), *_NAMES, *_NAMES.values(), *_THINGS, *phrases]
    return [*dict.fromkeys(word.lower() for word in words), *(str(value) for value in range(MAX_VALUE + 1))]


@lru_cache(maxsize=1)
def _answer_shares() -> tuple[float, ...]:
    """Return the probability of each answer 0..MAX_VALUE among all arithmetic that is drawn.

    Which of it a split keeps depends on a hash alone, so these are the shares of training problems too.
    """
    values = [0.0, *([1 / MAX_VALUE] * MAX_VALUE)]
    answers = [0.0] * (MAX_VALUE + 1)
    for steps in range(1, MAX_STEPS + 1):
        values = _after_a_step(values)
        if steps >= MIN_STEPS:
            answers = [sum(both) for both in zip(answers, values, strict=True)]
    return tuple(share / (MAX_STEPS - MIN_STEPS + 1) for share in answers)


def _after_a_step(shares: Sequence[float]) -> list[float]:
    """Return the probability of each value after a step, of those before it."""
    after = [0.0] * len(shares)
    for value, share in enumerate(shares):
        kinds = Counter(_kinds(value))
        for kind, times in kinds.items():
            operands = (2,) if kind in ("double", "halve") else range(1, _largest_operand(kind, value) + 1)
            each = share * times / kinds.total() / len(operands)
            for operand in operands:
                after[Operation(kind, operand).apply(value)] += each
    return after


def word_problems(split: Split = "test", count: int = 512, seed: int = 0) -> Task:
    """Draw a set of problems whose arithmetic is pairwise different.

    Args:
        split: Which part of all problems to draw from.
        count: Number of problems.
        seed: Seed of the draw; a larger count with the same seed starts with the same problems.

    Raises:
        UserError: If the split is unknown or the count is not positive.
    """
    if split not in get_args(Split):
        raise UserError(f"unknown split {split!r} of the word problems: use one of {', '.join(get_args(Split))}")
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}: it is the number of word problems to draw")
    rng, stream = random.Random(f"words {split} {seed}"), draw_cores(split, seed)
    problems: dict[Core, Problem] = {}
    while len(problems) < count:
        core = next(stream)
        if core in problems:
            continue
        question = tell(core, rng)
        question_id = f"word-{hashlib.blake2b(question.encode(), digest_size=6).hexdigest()}"
        problems[core] = Problem(question_id, question, str(core.values[-1]), core.steps)
    # Somebody who does not read the question does best, on average, by what answers are like.
    chances = tuple(_answer_shares()[int(problem.answer)] for problem in problems.values())
    train = None if split == "train" else lambda: questions_of(word_problems("train", count, seed))
    return Task(f"word_problems/{split}", tuple(problems.values()), chances, train_questions=train)


TASKS.register("word_problems", word_problems)
