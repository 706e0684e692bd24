"""From trajectory records to curves: one value with its interval and its cost per aggregation and budget.

The rows are what `curves.csv` holds, and tables and plots are made from nothing else.
"""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.aggregations.coverage import coverage
from latent_core.selection.estimators import FloatArray, guess_coverage
from latent_core.selection.intervals import bootstrap_interval

GREEDY = "greedy"
RANDOM_GUESS = "random_guess"


@dataclass(frozen=True)
class CurveRow:
    """One line of `curves.csv`.

    Attributes:
        trial: Name of the sampler setting, such as "gaussian sigma=0.4".
        sampler: Name of the sampler, such as "gaussian"; "none" for greedy decoding.
        aggregation: A key of `AGGREGATIONS`, or "greedy", or "random_guess".
        n: Budget: samples per question.
        value: Accuracy as a fraction of 1; NaN where fewer than n samples exist.
        lo: Lower end of the 95 % interval.
        hi: Upper end of the 95 % interval.
        trajectories: Questions times n.
        flops: Expected cost of n samples of every question, over all questions.
    """

    trial: str
    sampler: str
    aggregation: str
    n: int
    value: float
    lo: float
    hi: float
    trajectories: int
    flops: float


COLUMNS = tuple(field.name for field in fields(CurveRow))


@dataclass(frozen=True)
class Cost:
    """Expected FLOPs of sampling a set of questions.

    Attributes:
        prompts: Reading every prompt once.
        per_sample: One average trajectory of every question.
    """

    prompts: float = 0.0
    per_sample: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.prompts + other.prompts, self.per_sample + other.per_sample)

    def of(self, n: int) -> float:
        """FLOPs of n samples of every question, prompts read once."""
        return self.prompts + n * self.per_sample


def cost_of(records: pd.DataFrame) -> Cost:
    """Add up the cost of trajectories, from the columns question_id, flops, prompt_flops and error."""
    # A row that failed may not know its cost, which then counts as nothing. Any other gap must show in the result.
    costs = records[["flops", "prompt_flops"]].astype(np.float64)
    costs = costs.mask(costs.isna().mul(records["error"].notna(), axis=0), 0.0)
    if costs.isna().to_numpy().any():
        return Cost(math.nan, math.nan)
    by_question = costs.groupby(records["question_id"])
    # Samples of a question share its prompt, so each repeats the one number, unless it failed before knowing it.
    return Cost(float(by_question["prompt_flops"].max().sum()), float(by_question["flops"].mean().sum()))


def curve_rows(
    outcomes: Outcomes,
    cost: Cost,
    budgets: Sequence[int],
    *,
    trial: str,
    sampler: str,
    seed: int = 0,
    aggregations: Sequence[str] = tuple(AGGREGATIONS),
) -> list[CurveRow]:
    """Evaluate every aggregation at every budget.

    Args:
        outcomes: What became of the trajectories.
        cost: What they cost.
        budgets: Samples per question, each at least 1; one beyond what was sampled gives a row with NaN.
        trial: Name of the sampler setting.
        sampler: Name of the sampler.
        seed: Seed of the bootstrap; equal seeds resample the questions alike in every trial.
        aggregations: Keys of `AGGREGATIONS`.

    Returns:
        One row per aggregation and budget, in that order.
    """
    rows = []
    for aggregation in aggregations:
        for n in budgets:
            values = AGGREGATIONS[aggregation](outcomes, n)
            rows.append(_row(trial, sampler, aggregation, n, values, cost.of(n), seed))
    return rows


def greedy_row(outcomes: Outcomes, cost: Cost, *, trial: str = GREEDY, seed: int = 0) -> CurveRow:
    """The accuracy of the model without any sampling, from one record per question.

    Raises:
        ValueError: If there is more than one sample per question, which greedy decoding cannot have.
    """
    if outcomes.samples != 1:
        raise ValueError(f"greedy decoding gives one sample per question, got {outcomes.samples}")
    return _row(trial, "none", GREEDY, 1, coverage(outcomes, 1), cost.of(1), seed)


def guess_rows(
    weights: Mapping[str, float], truths: Mapping[str, str], budgets: Sequence[int], *, seed: int = 0
) -> list[CurveRow]:
    """Coverage of somebody who draws n answers from their marginal distribution, without reading the question.

    A sampler whose coverage grows no faster than this has found diversity, not answers. The interval is over
    questions, as everywhere; where all answers are equally likely it has no width.

    Args:
        weights: Probability of each canonical answer.
        truths: The canonical reference answer of each question.
        budgets: Guesses per question.
        seed: Seed of the bootstrap.

    Returns:
        One row per budget; guesses cost nothing.
    """
    answers, rows = list(truths.values()), []
    for n in budgets:
        values = guess_coverage(weights, answers, n)
        possible = [*values, *guess_coverage(weights, list(weights), n)]
        row = _row(RANDOM_GUESS, RANDOM_GUESS, RANDOM_GUESS, n, values, 0.0, seed, (min(possible), max(possible)))
        rows.append(row)
    return rows


def write_curves_csv(rows: Iterable[CurveRow], path: Path) -> None:
    """Write rows, replacing the file in one step; numbers are spelled so that reading restores them exactly."""
    # The process id keeps two writers apart; the rename makes the last one win with a whole file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    unfinished.replace(path)


def read_curves_csv(path: Path) -> list[CurveRow]:
    """Read what `write_curves_csv` wrote.

    Raises:
        UserError: If the file is not such a file.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{path} is not a file of curves: its first line must be {','.join(COLUMNS)}")
        try:
            return [_parse(line) for line in reader]
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}, line {reader.line_num}: not a row of curves ({error})") from error


def _row(
    trial: str,
    sampler: str,
    aggregation: str,
    n: int,
    values: FloatArray,
    flops: float,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> CurveRow:
    interval = bootstrap_interval(values, seed=seed, bounds=bounds)
    return CurveRow(trial, sampler, aggregation, n, *interval, trajectories=len(values) * n, flops=float(flops))


def _parse(line: Mapping[str, str]) -> CurveRow:
    return CurveRow(
        trial=line["trial"],
        sampler=line["sampler"],
        aggregation=line["aggregation"],
        n=int(line["n"]),
        value=float(line["value"]),
        lo=float(line["lo"]),
        hi=float(line["hi"]),
        trajectories=int(line["trajectories"]),
        flops=float(line["flops"]),
    )
