"""From trajectory records to curves: one value with its interval and its cost per aggregation and budget.

The rows are what `curves.csv` holds, and tables and plots are made from nothing else.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes, Scorer, available
from latent_core.selection.aggregations.coverage import coverage
from latent_core.selection.estimators import FloatArray, guess_coverage
from latent_core.selection.intervals import UNIT_BOUNDS, mean_interval, mean_value
from orchestrator.files import write_csv
from orchestrator.names import GREEDY, RANDOM_GUESS


@dataclass(frozen=True)
class CurveRow:
    """One line of `curves.csv`.

    Attributes:
        trial: Name of the sampler setting, such as "gaussian sigma=0.4".
        sampler: Name of the sampler, such as "gaussian"; "none" for greedy decoding.
        aggregation: A key of `AGGREGATIONS`, or "greedy", "random_guess", "beam_search" or "beam_vote".
        n: Budget: samples per question; for a beam search, the number of trajectories that cost as many steps.
        value: Accuracy as a fraction of 1; NaN where fewer than n samples exist.
        lo: Lower end of the 95 % interval.
        hi: Upper end of the 95 % interval.
        trajectories: Questions times n; of a trial with a budget rule, where n is the most samples that a question may
            get, as many as they got.
        flops: Expected cost of n samples of every question, over all questions; that of scoring them included where
            the aggregation needs scores.
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


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """A point of a curve as one value per question; its interval is computed by whoever reads it.

    Attributes:
        trial: Name of the sampler setting.
        sampler: Name of the sampler.
        aggregation: What the values are of.
        n: Budget.
        by_question: [Q], one value per question, within the bounds.
        flops: Cost over all questions.
        bounds: Least and greatest possible value of a question.
        used: Trajectories over all questions where they differ in how many they got; n is the most, then.
        flops_once: The same where prompts are read once, not in every wave; None where there are no waves.
    """

    trial: str
    sampler: str
    aggregation: str
    n: int
    by_question: FloatArray
    flops: float
    bounds: tuple[float, float] = UNIT_BOUNDS
    used: int | None = None
    flops_once: float | None = None

    @property
    def value(self) -> float:
        """Mean over questions; NaN where fewer than n samples exist."""
        return mean_value(self.by_question, self.bounds)

    @property
    def trajectories(self) -> int:
        """Questions times n, or as many as there were where questions differ."""
        return len(self.by_question) * self.n if self.used is None else self.used

    def row(self) -> CurveRow:
        """Return it with its interval.

        Raises:
            ValueError: If there is no question, or a value lies outside the bounds.
        """
        interval = mean_interval(self.by_question, bounds=self.bounds)
        return CurveRow(
            self.trial, self.sampler, self.aggregation, self.n, *interval, self.trajectories, float(self.flops)
        )


@dataclass(frozen=True)
class Cost:
    """Expected FLOPs of sampling a set of questions, and of scoring the samples.

    Attributes:
        prompts: Reading every prompt once.
        per_sample: One average trajectory of every question.
        scorer_prompts: The reward model reading every prompt once.
        per_sample_scoring: The reward model scoring one average trajectory of every question.
        answer_scorer_prompts: As `scorer_prompts`, of the reward model that also reads answers.
        per_sample_answer_scoring: As `per_sample_scoring`, of the reward model that also reads answers.
    """

    prompts: float = 0.0
    per_sample: float = 0.0
    scorer_prompts: float = 0.0
    per_sample_scoring: float = 0.0
    answer_scorer_prompts: float = 0.0
    per_sample_answer_scoring: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def of(self, n: int, scorer: Scorer | None = None, reads: int = 1) -> float:
        """FLOPs of n samples of every question, with the work of a scorer where one is named.

        Args:
            n: Samples per question.
            scorer: Whose work is added.
            reads: How often prompts are read.
        """
        sampling = reads * self.prompts + n * self.per_sample
        if scorer == "trajectory":
            return sampling + reads * self.scorer_prompts + n * self.per_sample_scoring
        if scorer == "answer":
            return sampling + reads * self.answer_scorer_prompts + n * self.per_sample_answer_scoring
        return sampling


def cost_of(records: pd.DataFrame) -> Cost:
    """Add up the cost of trajectories and of their scores.

    Args:
        records: One row per trajectory, with the columns question_id, error, flops and prompt_flops; and, where they
            are scored, score, score_flops and score_prompt_flops, or answer_score, answer_score_flops and
            answer_score_prompt_flops.

    Returns:
        The cost; NaN in what cannot be known because a row that has been sampled, or scored, does not say what it
        cost.
    """
    # A row that failed may not know its cost, which then counts as nothing. Any other gap must show in the result.
    sampling = _cost_of(records, "prompt_flops", "flops", may_lack=records["error"].notna())
    return Cost(*sampling, *_scoring_cost(records, "score"), *_scoring_cost(records, "answer_score"))


@dataclass(frozen=True, eq=False)
class QuestionCosts:
    """Expected FLOPs of every question by itself: of its prompt, and of one average sample.

    Attributes:
        prompt: [Q], reading the prompt once.
        sample: [Q], one trajectory.
        scorer_prompt: [Q], the reward model reading the prompt once; 0 where nothing is scored.
        scorer_sample: [Q], the reward model scoring one trajectory.
    """

    prompt: FloatArray
    sample: FloatArray
    scorer_prompt: FloatArray
    scorer_sample: FloatArray

    def of(self, scorer: Scorer | None) -> tuple[FloatArray, FloatArray]:
        """Costs of prompts and of single samples [Q], with the work of the scorer where it is named."""
        if scorer is None:
            return self.prompt, self.sample
        return self.prompt + self.scorer_prompt, self.sample + self.scorer_sample


def question_costs(parts: Sequence[pd.DataFrame]) -> QuestionCosts:
    """Cost of every question, in the order of the records; these are as for `cost_of`, some questions at a time."""
    found: list[list[FloatArray]] = [[], [], [], []]
    for records in parts:
        failed = records["error"].notna()
        sampling = _costs_of(records, "prompt_flops", "flops", may_lack=failed)
        nothing = np.zeros(records["question_id"].nunique())
        scoring = (nothing, nothing)
        if "score" in records:
            scoring = _costs_of(records, "score_prompt_flops", "score_flops", may_lack=records["score"].isna())
        for place, values in zip(found, (*sampling, *scoring), strict=True):
            place.append(values)
    return QuestionCosts(*map(np.concatenate, found))


def _costs_of(
    records: pd.DataFrame, prompt: str, sample: str, *, may_lack: "pd.Series[bool]"
) -> tuple[FloatArray, FloatArray]:
    """Cost of the prompt and of an average sample of every question; NaN where a row does not say it."""
    if prompt not in records or sample not in records:
        unknown = np.full(records["question_id"].nunique(), np.nan)
        return unknown, unknown
    costs = records[[prompt, sample]].astype(np.float64)
    costs = costs.mask(costs.isna().mul(may_lack, axis=0), 0.0)
    by_question = costs.groupby(records["question_id"], sort=False)
    means = by_question[sample].agg(lambda values: values.mean(skipna=False))
    prompts = by_question[prompt].max()
    return np.asarray(prompts, dtype=np.float64), np.asarray(means, dtype=np.float64)


def _scoring_cost(records: pd.DataFrame, score: str) -> tuple[float, float]:
    """Cost of the prompts and of one sample per question for the scorer of a column; zero where there is none."""
    if score not in records:
        return 0.0, 0.0
    return _cost_of(records, f"{score}_prompt_flops", f"{score}_flops", may_lack=records[score].isna())


def _cost_of(records: pd.DataFrame, prompt: str, sample: str, *, may_lack: "pd.Series[bool]") -> tuple[float, float]:
    if prompt not in records or sample not in records:
        return math.nan, math.nan
    costs = records[[prompt, sample]].astype(np.float64)
    costs = costs.mask(costs.isna().mul(may_lack, axis=0), 0.0)
    if costs.isna().to_numpy().any():
        return math.nan, math.nan
    by_question = costs.groupby(records["question_id"])
    # Samples of a question share its prompt, so each repeats the one number, unless it failed before knowing it.
    return float(by_question[prompt].max().sum()), float(by_question[sample].mean().sum())


def curve_points(
    outcomes: Outcomes,
    cost: Cost,
    budgets: Sequence[int],
    *,
    trial: str,
    sampler: str,
    aggregations: Sequence[str] | None = None,
) -> list[CurvePoint]:
    """Evaluate every aggregation that the outcomes allow at every budget.

    Args:
        outcomes: What became of the trajectories.
        cost: What they cost.
        budgets: Samples per question, each at least 1; one beyond what was sampled gives a point with NaN.
        trial: Name of the sampler setting.
        sampler: Name of the sampler.
        aggregations: Keys of `AGGREGATIONS`; by default all that can be computed.

    Returns:
        One point per aggregation and budget, in that order.

    Raises:
        ValueError: If an aggregation is asked for that needs scores which the outcomes do not have.
    """
    return [
        CurvePoint(trial, sampler, name, n, AGGREGATIONS[name](outcomes, n), cost.of(n, AGGREGATIONS[name].scorer))
        for name in (available(outcomes) if aggregations is None else aggregations)
        for n in budgets
    ]


def greedy_point(outcomes: Outcomes, cost: Cost, *, trial: str = GREEDY) -> CurvePoint:
    """The accuracy of the model without any sampling, from one record per question.

    Raises:
        ValueError: If there is more than one sample per question, which greedy decoding cannot have.
    """
    if outcomes.samples != 1:
        raise ValueError(f"greedy decoding gives one sample per question, got {outcomes.samples}")
    return CurvePoint(trial, "none", GREEDY, 1, coverage(outcomes, 1), cost.of(1))


def guess_rows(chances: Sequence[float], budgets: Sequence[int]) -> list[CurveRow]:
    """Coverage of somebody who guesses n times without understanding the question.

    A sampler whose coverage grows no faster than this has found diversity, not answers. The interval is over
    questions, as everywhere; where all questions have the same chance it has no width.

    Args:
        chances: Probability that one guess is right, one per question.
        budgets: Guesses per question.

    Returns:
        One row per budget; guesses cost nothing.
    """
    rows = []
    for n in budgets:
        values = guess_coverage(chances, n)
        # Chances are known, not estimated: equal ones leave nothing uncertain.
        least, greatest = float(values.min()), float(values.max())
        bounds = (least, greatest) if greatest - least <= 1e-12 else UNIT_BOUNDS
        rows.append(CurvePoint(RANDOM_GUESS, RANDOM_GUESS, RANDOM_GUESS, n, values, 0.0, bounds).row())
    return rows


def best_trials(rows: Sequence[CurveRow]) -> dict[str, str]:
    """Return, for each aggregation, the sampled trial with the highest value at its largest budget."""
    best: dict[str, CurveRow] = {}
    for row in rows:
        if row.trial in (GREEDY, RANDOM_GUESS) or row.value != row.value:
            continue
        leader = best.get(row.aggregation)
        if leader is None or (row.n, row.value) > (leader.n, leader.value):
            best[row.aggregation] = row
    return {aggregation: row.trial for aggregation, row in best.items()}


def write_curves_csv(rows: Iterable[CurveRow], path: Path) -> None:
    """Write rows, replacing the file in one step; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, rows))


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
