"""Path finding: what is right is checked against walking every way there is."""

import itertools
from collections.abc import Iterator
from itertools import islice, pairwise, product

import pytest

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.tasks.path_finding import (
    EDGES,
    HOPS,
    NODES,
    Core,
    canonical_path,
    draw_cores,
    path_finding,
    read,
    tell,
    vocabulary,
)

SPLITS = ("train", "validation", "test")
# A ring a-b-c-d-e with two ways from c to e, a way back, and a dead end.
QUESTION = "ab bc cd de ce bf ea from a to e ?"


def walks(core: Core) -> Iterator[tuple[str, float]]:
    """Every walk of four hops with the chance that a random walk takes it, found by trying all ends."""
    listed = {NODES[tail] + NODES[head] for tail, head in core.edges}
    nodes = sorted(set("".join(listed)))
    for way in product(nodes, repeat=HOPS):
        steps = [tail + head for tail, head in pairwise((NODES[core.start], *way))]
        if listed.issuperset(steps):
            chance = 1.0
            for step in steps:
                chance /= sum(edge[0] == step[0] for edge in listed)
            yield " ".join(steps), chance


@pytest.mark.parametrize("index", range(4))
def test_right_walks_and_their_chance_are_those_of_brute_force(index: int) -> None:
    core = next(islice(draw_cores("test", seed=7), index, None))
    problem = Problem("q", tell(core), "", grader="path_finding")
    found = list(walks(core))
    right = [walk for walk, _ in found if walk[-1] == NODES[core.goal]]
    assert right
    assert [walk for walk, _ in found if problem.is_correct(walk)] == right
    assert core.chance == pytest.approx(sum(chance for walk, chance in found if walk in right))
    reference = core.walk()
    assert reference is not None
    assert " ".join(NODES[tail] + NODES[head] for tail, head in reference) == min(right)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("ab bc cd de", True),
        ("ab bc ce", False),
        ("ab bc ce ea", False),
        ("bc cd de ea", False),
        ("ab bc cd df", False),
        ("ab bc de cd", False),
        ("ab cd bc ce", False),
        ("ab bc ce ea ab", False),
        ("ab", False),
        (None, False),
    ],
)
def test_a_right_walk_is_listed_joins_up_and_takes_four_hops(answer: str | None, right: bool) -> None:
    assert Problem("q", QUESTION, "ab bc cd de", grader="path_finding").is_correct(answer) is right


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab bc cd de", "ab bc cd de"),
        ("  AB bC\ncd  de ", "ab bc cd de"),
        ("ab", "ab"),
        ("ab ab", "ab ab"),
        (None, None),
        ("", None),
        (" ", None),
        ("ab bcd", None),
        ("ab b", None),
        ("az bc", None),
        ("ab, bc", None),
        ("ab ### bc", None),
        ("12", None),
    ],
)
def test_canonical_spelling(text: str | None, expected: str | None) -> None:
    assert canonical_path(text) == expected
    assert canonical_path(expected) == expected


def test_a_question_is_read_as_it_was_told() -> None:
    for core in islice(draw_cores("train", seed=1), 50):
        assert read(tell(core)) == core
        assert read(tell(core).upper()) == core


@pytest.mark.parametrize("question", ["", "ab bc from a to c", "ab bz from a to c ?", "from a to c ?"])
def test_other_questions_are_refused(question: str) -> None:
    with pytest.raises(ValueError, match="no path-finding question"):
        read(question)


def test_problems_have_the_promised_shape() -> None:
    task = path_finding("test", 200)
    assert task.guess_chances is not None
    for problem, chance in zip(task.problems, task.guess_chances, strict=True):
        core = read(problem.question)
        assert len(set(core.edges)) == len(core.edges) == EDGES
        assert all(tail != head for tail, head in core.edges)
        assert core.start != core.goal
        assert problem.is_correct(problem.canonical(problem.answer))
        assert " ".join(problem.steps) == problem.answer
        assert 0 < chance <= 1
    # A walk that looks nowhere ahead is nearly always lost.
    assert sum(task.guess_chances) / len(task.problems) < 0.1


def test_no_problem_is_shared_between_splits() -> None:
    drawn = {split: set(islice(draw_cores(split, seed=0), 1000)) for split in SPLITS}
    assert all(core.split == split for split, cores in drawn.items() for core in cores)
    core = next(draw_cores("test", seed=0))
    assert Core(core.start, core.goal, core.edges[::-1]).split == "test"


def test_the_split_does_not_change() -> None:
    """The shipped weights were trained on one side of this split: moving it would leak problems into training."""
    assert path_finding("test", 600).fingerprint == "b8ebc4b6fcf41ed8"


def test_same_seed_same_problems_and_larger_sets_extend_smaller_ones() -> None:
    small, large, other = path_finding("test", 20), path_finding("test", 50), path_finding("test", 50, seed=1)
    assert list(large.problems[:20]) == list(small.problems)
    assert large.head(20) == small
    assert large.fingerprint != other.fingerprint
    assert len({problem.question_id for problem in large.problems}) == 50


def test_the_vocabulary_covers_every_word() -> None:
    words = vocabulary()
    assert len(words) == len(set(words))
    texts = itertools.chain.from_iterable((p.question, p.answer) for p in path_finding("train", 100).problems)
    assert set(" ".join(texts).split()) <= set(words)


@pytest.mark.parametrize(("split", "count"), [("dev", 5), ("test", 0)])
def test_wrong_input_is_refused(split: str, count: int) -> None:
    with pytest.raises(UserError):
        path_finding(split, count)  # type: ignore[arg-type]
