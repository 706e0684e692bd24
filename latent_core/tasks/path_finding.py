"""Path finding: from a start to a goal in exactly four hops along a list of directed edges, made from a seed.

"bd ka ab hm dh ... from a to m ?" is answered by four listed edges that join up, such as "ab bd dh hm". Any such walk
is right; a program checks it. Nodes are the letters a to m, and the edge from a to b is spelled "ab": one token. Nodes
on the way have several outgoing edges, most of which do not lead to the goal in time, so finding a walk takes looking
ahead, while checking one takes a glance at each of its edges.

The split of a problem is a hash of its start, goal and set of edges, so whatever seed a split is drawn with, its
problems cannot occur in another split.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal, get_args

from latent_core.answers.grading import GRADERS, Grader
from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task, questions_of
from latent_core.tasks.loading import TASKS

Split = Literal["train", "validation", "test"]
Edge = tuple[int, int]
"""Tail and head of a directed edge, as node numbers."""

NODES = "abcdefghijklm"
EDGES = 18
"""Listed edges of a problem."""
HOPS = 4
GRADER = "path_finding"

_OTHER_WORDS = ("from", "to", "?", "###")
_EDGE = re.compile(f"[{NODES}]{{2}}")
_QUESTION = re.compile(f"((?:[{NODES}]{{2}} )+)from ([{NODES}]) to ([{NODES}]) \\?", re.IGNORECASE)


def spell(edge: Edge) -> str:
    """Return the token of an edge."""
    return NODES[edge[0]] + NODES[edge[1]]


def unspell(token: str) -> Edge:
    """Return the edge of a lower-case token of two letters."""
    return NODES.index(token[0]), NODES.index(token[1])


@dataclass(frozen=True)
class Core:
    """What a problem asks: start, goal and the listed edges in their order."""

    start: int
    goal: int
    edges: tuple[Edge, ...]

    @cached_property
    def heads(self) -> tuple[tuple[int, ...], ...]:
        """Per node, where its outgoing edges lead."""
        heads: list[list[int]] = [[] for _ in NODES]
        for tail, head in self.edges:
            heads[tail].append(head)
        return tuple(tuple(nodes) for nodes in heads)

    @cached_property
    def chance(self) -> float:
        """Probability that a walk of four hops, each uniform over the outgoing edges, ends at the goal."""
        chances = [float(node == self.goal) for node in range(len(NODES))]
        for _ in range(HOPS):
            chances = [sum(chances[head] for head in heads) / len(heads) if heads else 0.0 for heads in self.heads]
        return chances[self.start]

    @cached_property
    def split(self) -> Split:
        """The one split this problem may appear in: 90 % train, 5 % validation, 5 % test."""
        spelled = " ".join([NODES[self.start], NODES[self.goal], *sorted(spell(edge) for edge in self.edges)])
        bucket = int.from_bytes(hashlib.blake2b(spelled.encode(), digest_size=4).digest(), "little") % 20
        return {0: "test", 1: "validation"}.get(bucket, "train")  # type: ignore[return-value]

    def walk(self) -> tuple[Edge, ...] | None:
        """Return the first right walk in alphabetical order, or None if there is none."""
        walks: list[tuple[Edge, ...]] = [()]
        for _ in range(HOPS):
            walks = [
                (*walk, (node, head))
                for walk in walks
                for node in [walk[-1][1] if walk else self.start]
                for head in sorted(self.heads[node])
            ]
        return next((walk for walk in walks if walk[-1][1] == self.goal), None)

    def accepts(self, walk: tuple[Edge, ...]) -> bool:
        """Whether these edges are listed, join up, and lead from start to goal in exactly four hops."""
        joined = all(before[1] == after[0] for before, after in pairwise(walk))
        return (
            len(walk) == HOPS
            and (walk[0][0], walk[-1][1]) == (self.start, self.goal)
            and joined
            and set(walk) <= set(self.edges)
        )


def _draw_core(rng: random.Random) -> Core:
    """Draw a path of four hops and wrong turns off it, and off these in turn."""
    path = rng.sample(range(len(NODES)), HOPS + 1)
    edges = dict.fromkeys(pairwise(path))
    # Where a wrong turn may begin: anywhere but at the goal. Nodes it leads to come in, so that it can go on.
    sources = path[:-1]
    while len(edges) < EDGES:
        # What `choice` and `randrange` draw, without their checks: twenty problems are drawn for each of a small split.
        tail, head = sources[_below(rng.getrandbits, len(sources))], _below(rng.getrandbits, len(NODES))
        if tail != head and (tail, head) not in edges:
            edges[tail, head] = None
            if head not in sources and head != path[-1]:
                sources.append(head)
    shuffled = list(edges)
    rng.shuffle(shuffled)
    return Core(path[0], path[-1], tuple(shuffled))


def _below(getrandbits: Callable[[int], int], n: int) -> int:
    """Draw a number from 0 to n - 1, uniformly: as many bits as n has, until they are below n."""
    bits = n.bit_length()
    drawn = getrandbits(bits)
    while drawn >= n:
        drawn = getrandbits(bits)
    return drawn


def draw_cores(split: Split, seed: int) -> Iterator[Core]:
    """Yield an endless stream of a split's problems; the same seed gives the same stream."""
    rng = random.Random(f"paths {split} {seed}")
    while True:
        core = _draw_core(rng)
        if core.split == split:
            yield core


def tell(core: Core) -> str:
    """Return the text of a problem."""
    edges = " ".join(spell(edge) for edge in core.edges)
    return f"{edges} from {NODES[core.start]} to {NODES[core.goal]} ?"


@lru_cache(maxsize=1024)
def read(question: str) -> Core:
    """Return the problem that a text tells.

    Raises:
        ValueError: If the text is no path-finding problem.
    """
    matched = _QUESTION.fullmatch(question.strip())
    if matched is None:
        raise ValueError(f"no path-finding question: {question!r}")
    edges, start, goal = (part.lower() for part in matched.groups())
    return Core(NODES.index(start), NODES.index(goal), tuple(unspell(edge) for edge in edges.split()))


def vocabulary() -> list[str]:
    """Return every token of questions and answers, in a fixed order: words, nodes, edges by tail and head."""
    edges = [tail + head for tail in NODES for head in NODES if tail != head]
    return [*_OTHER_WORDS, *NODES, *edges]


def canonical_path(text: str | None) -> str | None:
    """Spell a sequence of edges in lower case with one space between; None where the text is something else."""
    tokens = (text or "").lower().split()
    if not tokens or not all(_EDGE.fullmatch(token) for token in tokens):
        return None
    return " ".join(tokens)


def _is_right_walk(question: str, reference: str, answer: str) -> bool:
    return read(question).accepts(tuple(unspell(token) for token in answer.split()))


def path_finding(split: Split = "test", count: int = 600, seed: int = 0) -> Task:
    """Draw a set of problems that differ in more than the order of their edges.

    Args:
        split: Which part of all problems to draw from.
        count: Number of problems.
        seed: Seed of the draw; a larger count with the same seed starts with the same problems.

    Raises:
        UserError: If the split is unknown or the count is not positive.
    """
    if split not in get_args(Split):
        raise UserError(f"unknown split {split!r} of path finding: use one of {', '.join(get_args(Split))}")
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}: it is the number of path-finding problems to draw")
    stream = draw_cores(split, seed)
    cores: dict[tuple[int, int, frozenset[Edge]], Core] = {}
    while len(cores) < count:
        core = next(stream)
        cores.setdefault((core.start, core.goal, frozenset(core.edges)), core)
    problems = tuple(_problem(core) for core in cores.values())
    chances = tuple(core.chance for core in cores.values())
    train = None if split == "train" else lambda: questions_of(path_finding("train", count, seed))
    return Task(f"path_finding/{split}", problems, chances, train_questions=train)


def _problem(core: Core) -> Problem:
    walk = core.walk()
    assert walk is not None  # One was planted.
    question, steps = tell(core), tuple(spell(edge) for edge in walk)
    question_id = f"path-{hashlib.blake2b(question.encode(), digest_size=6).hexdigest()}"
    return Problem(question_id, question, " ".join(steps), steps, GRADER)


GRADERS.register(GRADER, Grader(canonical_path, _is_right_walk))
TASKS.register("path_finding", path_finding)
