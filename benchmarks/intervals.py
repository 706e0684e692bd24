"""How often do 95 % intervals over questions hold the truth, near 0 and 1 as well?

    python -m benchmarks.intervals                        # the table of benchmarks/results/intervals.md
    python -m benchmarks.intervals --experiments 500      # quicker

A population is a pool of questions of which all are known, so that its mean is the truth; an experiment draws Q of
them with replacement and asks each method for its interval. Every experiment is a row, so that thousands cost a matrix
product. "Shipped" is `latent_core.selection.intervals`; the others are what it was chosen from.
"""

import argparse
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from latent_core.selection.estimators import BoolArray, FloatArray, IntArray, best_of_n, majority_at_n, pass_at_n
from latent_core.selection.intervals import DIFFERENCE_BOUNDS, UNIT_BOUNDS, pseudo_question_intervals

QUESTIONS = (20, 100, 200, 300)
SAMPLES = (16, 64)
POOL = 20_000
_LEVEL = 0.95
_Z = NormalDist().inv_cdf((1.0 + _LEVEL) / 2)
_RESAMPLES = 2000


class Population(NamedTuple):
    """Values of all questions of a population.

    Attributes:
        name: What it stands for.
        values: [P], one value per question.
        bounds: Least and greatest possible value.
    """

    name: str
    values: FloatArray
    bounds: tuple[float, float]


class Intervals(NamedTuple):
    """Ends of the intervals of E experiments, [E] each."""

    lo: FloatArray
    hi: FloatArray


Method = Callable[[FloatArray, tuple[float, float]], Intervals]
"""From values [E, Q] and their bounds to intervals."""


def shipped(values: FloatArray, bounds: tuple[float, float]) -> Intervals:
    """What `mean_interval` and `paired_difference` answer: two pseudo-questions at each of 0 and 1, one at -1 and 1."""
    _, lo, hi = pseudo_question_intervals(values, _Z, bounds, 1 if bounds == DIFFERENCE_BOUNDS else 2)
    return Intervals(lo, hi)


def percentile_bootstrap(values: FloatArray, bounds: tuple[float, float]) -> Intervals:
    """Percentiles of resampled means (Efron & Tibshirani 1993, ch. 13); Wilson's bound where all values are equal."""
    tail = (1.0 - _LEVEL) / 2
    lo, hi = np.quantile(values @ _resamples(values.shape[1]), [tail, 1.0 - tail], axis=1)
    return _or_constant(values, bounds, lo, hi)


def bca_bootstrap(values: FloatArray, bounds: tuple[float, float]) -> Intervals:
    """Bias-corrected and accelerated percentiles (Efron 1987); Wilson's bound where all values are equal."""
    gauss = NormalDist()
    means = np.sort(values @ _resamples(values.shape[1]), axis=1)
    mean = values.mean(axis=1, keepdims=True)
    below = ((means < mean).mean(axis=1) + (means <= mean).mean(axis=1)) / 2
    bias = np.array([gauss.inv_cdf(float(share)) for share in np.clip(below, 1e-4, 1.0 - 1e-4)])
    away = values - mean
    cubes, squares = (away**3).sum(axis=1), (away**2).sum(axis=1)
    acceleration = cubes / np.maximum(6.0 * squares**1.5, 1e-300)
    ends = []
    for z in (-_Z, _Z):
        moved = bias + (bias + z) / (1.0 - acceleration * (bias + z))
        share = np.array([gauss.cdf(float(one)) for one in moved])
        place = np.clip((share * (_RESAMPLES - 1)).round().astype(np.int64), 0, _RESAMPLES - 1)
        ends.append(means[np.arange(len(means)), place])
    return _or_constant(values, bounds, ends[0], ends[1])


def normal(values: FloatArray, bounds: tuple[float, float]) -> Intervals:
    """Mean and standard error, 1.96 of them; Wilson's bound where all values are equal."""
    half = _Z * values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    mean = values.mean(axis=1)
    return _or_constant(values, bounds, np.maximum(mean - half, bounds[0]), np.minimum(mean + half, bounds[1]))


def wilson(values: FloatArray, bounds: tuple[float, float]) -> Intervals:
    """Wilson's score interval with the values' own variance in place of p(1 - p)."""
    questions = values.shape[1]
    width = bounds[1] - bounds[0]
    added = _Z * _Z
    centre = (values.sum(axis=1) + added * sum(bounds) / 2) / (questions + added)
    half = _Z / (questions + added) * np.sqrt(questions * values.var(axis=1) + added * (width / 2) ** 2)
    return Intervals(np.maximum(centre - half, bounds[0]), np.minimum(centre + half, bounds[1]))


METHODS: Mapping[str, Method] = {
    "bootstrap": percentile_bootstrap,
    "BCa": bca_bootstrap,
    "normal": normal,
    "Wilson": wilson,
    "shipped": shipped,
}


def _or_constant(values: FloatArray, bounds: tuple[float, float], lo: FloatArray, hi: FloatArray) -> Intervals:
    constant = np.ptp(values, axis=1) <= 1e-12
    share = values.shape[1] / (values.shape[1] + _Z * _Z)
    value = share * values[:, 0]
    lo = np.where(constant, value + (1.0 - share) * bounds[0], lo)
    return Intervals(lo, np.where(constant, value + (1.0 - share) * bounds[1], hi))


@cache
def _resamples(questions: int) -> FloatArray:
    """Shares [Q, R] of the questions in R resamples."""
    counts = np.random.default_rng(0).multinomial(questions, np.full(questions, 1 / questions), _RESAMPLES)
    return np.ascontiguousarray(counts.T / questions)


def coverage(
    population: Population, questions: int, experiments: int, methods: Mapping[str, Method], seed: int
) -> dict[str, tuple[float, float]]:
    """Share of experiments whose interval holds the truth, and its mean width, by method."""
    rng = np.random.default_rng([seed, questions])
    values = population.values[rng.integers(0, len(population.values), (experiments, questions))]
    truth = float(population.values.mean())
    found = {}
    for name, method in methods.items():
        lo, hi = method(values, population.bounds)
        # Ends and truth are sums in different orders: their last bits must not decide.
        held = (lo <= truth + 1e-12) & (truth <= hi + 1e-12)
        found[name] = (float(held.mean()), float((hi - lo).mean()))
    return found


def populations(pool: int = POOL, seed: int = 0) -> list[Population]:
    """Means of coverage, majority vote and best-of-n, in four populations, from 16 and from 64 samples."""
    found = []
    for name, chances in _chances(pool, np.random.default_rng([seed, 0])).items():
        for samples in SAMPLES:
            correct, votes, scores = _samples(chances, samples, np.random.default_rng([seed, samples]))
            values = {
                "coverage@1": pass_at_n(correct, 1),
                "coverage@4": pass_at_n(correct, 4),
                "coverage@16": pass_at_n(correct, 16),
                "majority@16": majority_at_n(votes, correct, 16),
                "best-of-4": best_of_n(scores, correct, 4),
                "best-of-16": best_of_n(scores, correct, 16),
            }
            for what, one in values.items():
                found.append(Population(f"{name}, {what} of {samples}", one, UNIT_BOUNDS))
    return found


def paired_populations(pool: int = POOL, seed: int = 0) -> list[Population]:
    """Differences of one and of two points between two settings over the same questions."""
    found = []
    for name, chances in _chances(pool, np.random.default_rng([seed, 0])).items():
        for points in (1, 2):
            rng = np.random.default_rng([seed, 2, points])
            # The second setting cannot solve some of the questions that the first solves: a rare, large difference.
            mean = float(chances.mean())
            lost = rng.random(pool) < min(1.0, points / 100 / mean)
            first, votes, scores = _samples(chances, 16, rng)
            again, more, marks = _samples(np.where(lost, 0.0, chances), 16, rng)
            rare = np.where(lost, pass_at_n(first, 4), 0.0)
            noisy = best_of_n(scores, first, 4) - best_of_n(marks, again, 4)
            vote = majority_at_n(votes, first, 16) - majority_at_n(more, again, 16)
            for what, values in (("same samples", rare), ("best-of-4", noisy), ("majority@16", vote)):
                found.append(Population(f"{name}, {points} points, {what}", values, DIFFERENCE_BOUNDS))
    return found


def _chances(pool: int, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Chance that one sample is right [pool], by population."""
    easy = rng.beta(5.0, 0.25, pool)
    rare = rng.permutation(pool) < pool // 100
    return {
        # Coverage of 44 % at one sample, 66 % at four and 80 % at sixteen, as the demo has nearly.
        "like the demo": rng.beta(0.4, 0.5, pool),
        "easy": easy,
        "easy, 1 % impossible": np.where(rare, 0.0, 1.0 - rng.beta(1.0, 200.0, pool)),
        "hopeless, 1 % easy": np.where(rare, 0.95, rng.beta(1.0, 1000.0, pool)),
    }


def _samples(chances: FloatArray, samples: int, rng: np.random.Generator) -> tuple[BoolArray, IntArray, FloatArray]:
    """Whether samples are right, their answers (0 is right, 1 to 3 are wrong) and their scores, [pool, N] each."""
    correct = rng.random((len(chances), samples)) < chances[:, None]
    votes = np.where(correct, 0, 1 + (4 * rng.random(correct.shape) ** 2).astype(np.int64) % 3)
    return correct, votes, 1.5 * correct + rng.normal(size=correct.shape)


def table(cells: Sequence[Population], experiments: int) -> str:
    """Markdown table of actual coverage in percent at 20 / 100 / 200 / 300 questions, and a line of the worst."""
    lines = ["| population, value | truth % | " + " | ".join(METHODS) + " |", "|---|---|" + "---|" * len(METHODS)]
    every: dict[str, list[float]] = {name: [] for name in METHODS}
    widths: dict[str, list[float]] = {name: [] for name in METHODS}
    for number, cell in enumerate(cells):
        found = [coverage(cell, questions, experiments, METHODS, number) for questions in QUESTIONS]
        for name in METHODS:
            every[name] += [one[name][0] for one in found]
            widths[name] += [one[name][1] for one in found]
        shown = [" / ".join(f"{100 * one[name][0]:.0f}" for one in found) for name in METHODS]
        lines.append(f"| {cell.name} | {100 * cell.values.mean():.2f} | " + " | ".join(shown) + " |")
    lines.append("| **worst cell** | | " + " | ".join(f"{100 * min(every[name]):.1f}" for name in METHODS) + " |")
    low = [f"{sum(one < 0.93 for one in every[name])} of {len(every[name])}" for name in METHODS]
    lines.append("| cells below 93 % | | " + " | ".join(low) + " |")
    lines.append(
        "| mean width, points | | " + " | ".join(f"{100 * np.mean(widths[name]):.2f}" for name in METHODS) + " |"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="actual coverage of 95 % intervals")
    parser.add_argument("--experiments", type=int, default=2000)
    experiments = parser.parse_args(arguments).experiments
    print(f"numpy {np.__version__}, Python {platform.python_version()}, {experiments} experiments a cell\n")  # noqa: T201
    for cells in (populations(), paired_populations()):
        print(table(cells, experiments), end="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()
