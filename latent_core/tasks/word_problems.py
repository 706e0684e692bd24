"""Short word problems of three to six chained operations, made from a seed.

"Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?" Every word, mark and number is one
token, and every intermediate value lies in 0..499. The bundled reasoner is trained on these problems.

The split of a problem is a hash of its arithmetic core (the start value and the operations, not the names), so
whatever seed a split is drawn with, its arithmetic cannot occur in another split.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
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
_GUESS_SAMPLE = 20_000


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


def _draw_operation(value: int, rng: random.Random) -> Operation:
    """Draw a step that keeps the value within 0..MAX_VALUE."""
    kinds: list[Kind] = []
    if value < MAX_VALUE:
        kinds += ["add", "add"]
    if value > 0:
        kinds += ["subtract", "subtract"]
    if 0 < value <= MAX_VALUE // 2:
        kinds.append("double")
    if value > 0 and value % 2 == 0:
        kinds.append("halve")
    match rng.choice(kinds):
        case "add":
            return Operation("add", rng.randint(1, min(MAX_OPERAND, MAX_VALUE - value)))
        case "subtract":
            return Operation("subtract", rng.randint(1, min(MAX_OPERAND, value)))
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
def _answer_shares() -> dict[str, float]:
    """Measure how often each answer occurs among training problems."""
    stream = draw_cores("train", seed=0)
    counts = Counter(next(stream).values[-1] for _ in range(_GUESS_SAMPLE))
    return {str(answer): count / _GUESS_SAMPLE for answer, count in counts.items()}


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
    chances = tuple(_answer_shares().get(problem.answer, 0.0) for problem in problems.values())
    train = None if split == "train" else lambda: questions_of(word_problems("train", count, seed))
    return Task(f"word_problems/{split}", tuple(problems.values()), chances, train_questions=train)


TASKS.register("word_problems", word_problems)
