"""Mathematics: equal answers are equal strings, different ones are not, and nothing computes forever."""

import subprocess
import sys
import threading
import time

import pytest

from latent_core.answers.grading import check_fits_any_data
from latent_core.answers.mathematics import MATH, canonical_mathematics
from latent_core.errors import UserError
from latent_core.tasks.base import Problem

pytest.importorskip("math_verify")

EQUAL = [
    (r"\frac 35", r"\dfrac{3}{5}", "0.6", "3/5", r"$\frac{3}{5}$", r"x = \frac35"),
    (r"\sqrt{12}", r"2\sqrt3", r"2\sqrt{3}", r"\frac{6}{\sqrt3}"),
    (r"\frac{1}{1+\sqrt2}", r"\sqrt{2}-1"),
    ("x(x+1)", "x^2+x", "x + x^{2}"),
    (r"\frac{x+1}{x^2-1}", r"\frac{1}{x-1}"),
    ("0.5x", r"\frac{x}{2}"),
    (r"35\pi", r"\pi\cdot 35", r"35 \pi"),
    ("2,1", "1, 2", r"\{1,2\}"),
    (r"\left(3,\frac12\right)", "( 3, 0.5 )"),
    (r"x \in [-1,4]", "[-1, 4]"),
    (r"3\frac12", r"3\frac{1}{2}", "3.5"),
    (r"25\%", "25"),
    (r"\text{Evelyn}", "evelyn."),
    ("\u201335", "-35"),
    ("1+2i", "2i + 1"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
]
DIFFERENT = [
    "35",
    r"\sqrt{35}",
    "(3,5)",
    "(5,3)",
    "[3,5]",
    "(7,2)",
    r"\frac 35",
    r"35\pi",
    "-35",
    "3,5",
    "12_3",
    "12",
    "1/0",
]
DIFFERENT += [
    "0/0",
    "p - q",
    "q - p",
    "no answer",
    "answer no",
    "(3)(5)",
    "8",
    r"\frac{1}{0}",
    "x",
    "2x",
    "x^2",
]
UNBOUNDED = ["9^{9^9}", "9^9^9", "(x+1)^{9999}", "1000000!", r"\sum_{k=1}^{10} k", "(" * 140, "{" * 140, "1" * 140]
UNBOUNDED += [r"\binom{999}{500}", "((((((1))))))", r"\sqrt" * 25 + "2", "x" * 100_000]


@pytest.mark.parametrize("texts", EQUAL, ids=lambda texts: texts[0])
def test_equal_answers_are_one_vote(texts: tuple[str, ...]) -> None:
    assert len({canonical_mathematics(text) for text in texts}) == 1
    assert all(Problem("q", "?", texts[0], grader=MATH).is_correct(canonical_mathematics(text)) for text in texts)


@pytest.mark.parametrize("texts", EQUAL, ids=lambda texts: texts[0])
def test_the_librarys_own_comparison_agrees(texts: tuple[str, ...]) -> None:
    from math_verify import parse, verify

    # Of a percentage, words and points it has opinions of its own.
    if any(mark in texts[0] for mark in ("%", "text", "left", r"\in", "\u2013")):
        pytest.skip("read by the product's own rules")
    first, *others = (parse(f"${text.strip('$')}$") for text in texts)
    assert all(verify(first, other) for other in others)


def test_different_answers_are_different_votes() -> None:
    assert len({canonical_mathematics(text) for text in DIFFERENT}) == len(DIFFERENT)


def test_nothing_is_no_answer() -> None:
    assert [canonical_mathematics(text) for text in (None, "", " ", ".")] == [None] * 4


@pytest.mark.parametrize("text", UNBOUNDED, ids=lambda text: text[:12])
def test_what_may_compute_for_long_is_not_computed(text: str) -> None:
    canonical_mathematics(r"\pi")
    started = time.process_time()
    assert canonical_mathematics(text) is not None
    assert time.process_time() - started < 0.5


def test_actors_read_outside_the_main_thread() -> None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(canonical_mathematics(r"\frac{7}{2}x")))
    thread.start()
    thread.join()
    assert found == ["7*x/2"]


def test_every_process_spells_alike() -> None:
    """Python hashes strings differently in each; the order of terms must not follow."""
    program = (
        "from latent_core.answers.mathematics import canonical_mathematics as c;"
        r"print([c(t) for t in (r'\frac{z+a}{q-b}', 'c+b+a', r'\sqrt{2}+\sqrt{3}+\pi', '3, x, a')])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_missing_package_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    check_fits_any_data(MATH)
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(UserError, match=r"math needs the math-verify package.*pip install 'latentswarm\[math\]'"):
        check_fits_any_data(MATH)
