"""Variants are right by brute force: Python's own arithmetic recomputes every calculation, and chains stay chains."""

import random
import re
from fractions import Fraction

import pytest

from latent_core.training.arithmetic import Calculation, calculations_of, evaluate
from latent_core.training.variants import AnnotatedProblem, NumberVariants

SOLVED = {
    "A farm packs 48 eggs into boxes of 6 and sells each box for $4. What does it take in?": (
        "<<48/6=8>> boxes, <<8*4=32>> dollars #### 32",
        3,
    ),
    "Ina read 120 pages on Monday and half as many on Tuesday. Her book has 500 pages. How many are left?": (
        "<<120/2=60>> then <<120+60=180>> and <<500-180=320>> #### 320",
        2,
    ),
    "A club of 1,200 members loses 25% of them. How many stay?": (
        "<<25/100*1200=300>> leave, <<1200-300=900>> stay #### 900",
        2,
    ),
    "Tom has three dozen pears and eats 7 of them. How many are left?": ("<<3*12=36>>, <<36-7=29>> #### 29", 1),
}


def problem_of(question: str) -> AnnotatedProblem:
    solution = SOLVED[question][0]
    calculations = calculations_of(solution)
    assert calculations is not None
    return AnnotatedProblem(question, calculations, solution.rpartition("#### ")[2])


def by_python(tokens: tuple[str, ...]) -> Fraction:
    """Python's own parser and exact numbers."""
    code = "".join(f"Fraction('{token}')" if token[0].isdigit() or token[0] == "." else token for token in tokens)
    value: Fraction = eval(code, {"Fraction": Fraction})
    return value


@pytest.mark.parametrize("question", SOLVED)
def test_variants_are_right_by_brute_force(question: str) -> None:
    found = NumberVariants.of(problem_of(question))
    assert found is not None
    assert len(found.varying) == SOLVED[question][1]
    rng = random.Random(0)
    drawn = [variant for variant in (found.draw(rng) for _ in range(30)) if variant is not None]
    assert len({variant.question for variant in drawn}) > 5
    for variant in drawn:
        results: list[Fraction] = []
        said = {Fraction(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", variant.question)}
        for calculation in variant.calculations:
            value = by_python(calculation.tokens)
            assert value == Fraction(calculation.result)
            assert value.denominator == 1
            assert value > 0
            # Every number is said in the question, has been computed, or stood in the original calculation.
            known = said | {*results} | {Fraction(number) for number in ("2", "3", "12", "100")}
            assert {*calculation.numbers.values()} <= known
            results.append(value)
        assert variant.answer == variant.calculations[-1].result
        assert variant.question != question
        # Nothing but numbers has changed.
        assert re.sub(r"\d[\d,]*", "#", variant.question) == re.sub(r"\d[\d,]*", "#", question)


def test_the_same_seed_draws_the_same_variants() -> None:
    found = NumberVariants.of(problem_of(next(iter(SOLVED))))
    assert found is not None
    first, again, other = (
        [found.draw(rng) for _ in range(5)] for rng in (random.Random("a"), random.Random("a"), random.Random("b"))
    )
    assert first == again
    assert first != other


def test_sizes_stay_alike() -> None:
    found = NumberVariants.of(problem_of(next(iter(SOLVED))))
    assert found is not None
    rng = random.Random(0)
    for variant in filter(None, (found.draw(rng) for _ in range(50))):
        for new, old in zip(variant.calculations, found.problem.calculations, strict=True):
            assert Fraction(1, 4) <= Fraction(new.result) / Fraction(old.result) <= 4


@pytest.mark.parametrize(
    ("question", "solution"),
    [
        # A number of the solution that nobody has said: it may have been worked out from one that would vary.
        ("He has 40 nuts and eats 60%. How many are left?", "<<40*.4=16>> #### 16"),
        # Twice the same number, of which either may be meant.
        ("He has 40 nuts and 40 figs. How many in all?", "<<40+40=80>> #### 80"),
        # A result that is a number of the question too.
        ("Of 40 nuts he eats 20 and then 5. How many are left?", "<<40-20=20>><<20-5=15>> #### 15"),
        # Arithmetic that is not whole, and arithmetic that is wrong.
        ("He has 5 nuts for 2 days. How many a day?", "<<5/2=2.5>> #### 2.5"),
        ("He has 5 nuts and 4 figs. How many?", "<<5+4=10>> #### 10"),
        # An answer that no calculation gives.
        ("He has 15 nuts and 4 figs. How many?", "<<15+4=19>> #### 20"),
        # Years, times of day and fractions stand for themselves.
        ("Born in 1950, how old is he in 2001?", "<<2001-1950=51>> #### 51"),
        ("He has 40 nuts.", "so #### 40"),
    ],
)
def test_what_nobody_can_tell_is_left_alone(question: str, solution: str) -> None:
    calculations = calculations_of(solution)
    assert calculations is not None
    assert NumberVariants.of(AnnotatedProblem(question, calculations, solution.rpartition("#### ")[2])) is None


def test_what_was_more_is_still_more() -> None:
    question = "She sells 30 cakes, 20 fewer than she baked, at $7. What was baked, and what would it all bring?"
    calculations = calculations_of("<<30+20=50>><<50*7=350>>")
    assert calculations is not None
    found = NumberVariants.of(AnnotatedProblem(question, calculations, "350"))
    assert found is not None
    rng = random.Random(1)
    for variant in filter(None, (found.draw(rng) for _ in range(50))):
        sold, fewer, price = (int(number) for number in re.findall(r"\d+", variant.question))
        assert sold > fewer > price


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2+3*4", 14), ("(2+3)*4", 20), ("8-3-2", 3), ("100/4/5", 5), ("-3+5", 2), (".5*8", 4), ("2*-3", -6)],
)
def test_expressions_are_read_with_the_usual_precedence(expression: str, value: int) -> None:
    calculations = calculations_of(f"<<{expression}=1>>")
    assert calculations is not None
    assert evaluate(calculations[0].tokens) == value == by_python(calculations[0].tokens)


@pytest.mark.parametrize("annotation", ["<<2*3=6=6>>", "<<2**3=8>>", "<<(2+3=5>>", "<<1/0=0>>", "<<2+3>>", "<<x+1=2>>"])
def test_annotations_that_are_no_calculation(annotation: str) -> None:
    assert calculations_of(annotation) is None


def test_a_calculation_is_written_as_it_was_annotated() -> None:
    assert calculations_of("<<48 / 2 = 24>>") == (Calculation(("48", "/", "2"), "24"),)
    assert Calculation(("48", "/", "2"), "24").text == "<<48/2=24>>"
