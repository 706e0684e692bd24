"""From the store to what a person reads: curves, tables, pictures and a summary in the run directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import AGGREGATIONS, available
from latent_core.selection.aggregations.coverage import coverage
from latent_core.selection.estimators import FloatArray
from latent_core.tasks.base import Task
from orchestrator.analysis.beams import evaluate_search
from orchestrator.analysis.comparisons import Comparison, compare, write_comparisons_csv
from orchestrator.analysis.curves import Cost, CurveRow, cost_of, curve_rows, greedy_row, guess_rows, write_curves_csv
from orchestrator.analysis.difficulty import DifficultyRow, difficulty_rows, write_difficulty_csv
from orchestrator.analysis.evaluation import CURVE_COLUMNS, blocks, outcomes_of, sampled_so_far
from orchestrator.analysis.outcomes import join_outcomes
from orchestrator.analysis.pareto import judge, write_objectives_csv
from orchestrator.config.objective import Objective
from orchestrator.config.run import RunConfig, save_config
from orchestrator.files import write_atomically, write_json
from orchestrator.names import GREEDY
from orchestrator.reporting.plots.curves_html import plot_curves_html
from orchestrator.reporting.plots.curves_png import plot_curves_png
from orchestrator.reporting.plots.difficulty_png import plot_difficulty_png
from orchestrator.reporting.plots.pareto_png import plot_pareto_png
from orchestrator.store.trial import Coverage, Trial

_COLUMNS = (*CURVE_COLUMNS, "latent_steps", "answer_tokens", "seconds")
_TOTALS = ["failed", "unparsable", "cut", "unscored", "latent_steps", "answer_tokens", "seconds"]


@dataclass(frozen=True)
class TrialResult:
    """What a trial came to.

    Attributes:
        trial: The trial.
        rows: Its curves.
        summary: Its counts for `summary.json`.
        questions: One line per question.
        by_question: By budget and aggregation, the value of every question [Q]; of greedy decoding under "greedy".
    """

    trial: Trial
    rows: list[CurveRow]
    summary: dict[str, Any]
    questions: pd.DataFrame
    by_question: Mapping[int, Mapping[str, FloatArray]] = field(default_factory=dict)


def evaluate(trial: Trial, task: Task, samples: int | None = None) -> TrialResult:
    """Read a trial's trajectories and compute its curves and counts.

    Budgets beyond what has been sampled, because the trial was stopped early, have the value NaN.

    Args:
        trial: The trial; the points of its beam searches belong to its curves, once they are finished.
        task: The questions that were asked.
        samples: How many samples of every question are ready; looked up where it is not given.
    """
    samples = sampled_so_far(trial, len(task.problems)) if samples is None else samples
    outcomes, questions, first_error = [], [], None
    cost, totals = Cost(), pd.Series(0.0, index=_TOTALS)
    for records, problems in blocks(trial, task.problems, samples, _COLUMNS):
        outcomes.append(outcomes_of(trial, records, problems))
        cost += cost_of(records)
        failed = records["failed"]
        records = records.assign(unscored=records["score"].isna() & ~failed if "score" in records else False)
        questions.append(_per_question(records, trial.name))
        totals = totals + records[_TOTALS].sum()
        first_error = first_error or next(iter(records.loc[failed, "error"]), None)
    joined = join_outcomes(outcomes)
    by_question: dict[int, dict[str, FloatArray]]
    if trial.name == GREEDY:
        rows, by_question = [greedy_row(joined, cost)], {1: {GREEDY: coverage(joined, 1)}}
    else:
        sampled = [n for n in trial.budgets if n <= samples]
        by_question = {n: {name: AGGREGATIONS[name](joined, n) for name in available(joined)} for n in sampled}
        rows = curve_rows(joined, cost, trial.budgets, trial=trial.name, sampler=trial.sampler)
    beams = [found for search in trial.searches if (found := evaluate_search(search, task.problems)) is not None]
    for found in beams:
        rows += found.rows(trial.name)
        by_question.setdefault(found.n, {}).update(found.by_question)
    summary = {
        "trial": trial.name,
        "sampler": trial.store.spec.sampler,
        "samples": samples,
        "trajectories": joined.correct.size,
        "errors": int(totals["failed"]),
        "first_error": first_error,
        "unparsable": int(totals["unparsable"]),
        "cut": int(totals["cut"]),
        "cut_answers": trial.cut_answers,
        "latent_steps": int(totals["latent_steps"]),
        "answer_tokens": int(totals["answer_tokens"]),
        "device_seconds": float(totals["seconds"]),
        "unscored": int(totals["unscored"]),
        "store": trial.store.spec.key,
        "searches": [found.summary for found in beams],
    }
    return TrialResult(trial, rows, summary, pd.concat(questions, ignore_index=True), by_question)


def evaluate_all(
    trials: Sequence[Trial], task: Task, coverage: Mapping[str, Coverage] | None = None
) -> list[TrialResult]:
    """Evaluate all trials of which the store has a sample of every question.

    Args:
        trials: The trials.
        task: The questions that were asked.
        coverage: What the store holds, by the name of the trial; looked up where it is not given.
    """
    known = coverage or {trial.name: trial.coverage(len(task.problems)) for trial in trials}
    ready = {trial.name: known[trial.name].ready_samples for trial in trials}
    return [evaluate(trial, task, ready[trial.name]) for trial in trials if ready[trial.name] > 0]


def _per_question(records: pd.DataFrame, trial: str) -> pd.DataFrame:
    """Count what became of each question's samples."""
    by_question = records.groupby("question_id", sort=False)
    return pd.DataFrame(
        {
            "trial": trial,
            "samples": by_question.size(),
            "correct": by_question["correct"].sum(),
            "errors": by_question["failed"].sum(),
            "unparsable": by_question["unparsable"].sum(),
            "distinct_answers": by_question["answer"].nunique(),
            "most_frequent_answer": by_question["answer"].agg(_most_frequent),
            "cut": by_question["cut"].sum(),
        }
    ).reset_index()


def _most_frequent(answers: "pd.Series[Any]") -> Any:
    return next(iter(answers.mode()), None)


def all_rows(results: Sequence[TrialResult], task: Task, budgets: Sequence[int]) -> list[CurveRow]:
    """Join the curves of all trials, and the guessing baseline where the task knows its answers' distribution."""
    rows = [row for result in results for row in result.rows]
    if task.guess_chances is not None:
        rows.extend(guess_rows(task.guess_chances, budgets))
    return rows


def all_comparisons(results: Sequence[TrialResult]) -> list[Comparison]:
    """Compare what chooses by score with majority vote and greedy decoding, trial by trial and budget by budget."""
    greedy = next((result.by_question[1] for result in results if result.trial.name == GREEDY), {})
    found = []
    for result in results:
        if result.trial.name != GREEDY:
            for n, values in sorted(result.by_question.items()):
                # At one sample there is nothing to choose.
                found += compare({**greedy, **values}, trial=result.trial.name, n=n) if n > 1 else []
    return found


def all_difficulties(results: Sequence[TrialResult]) -> list[DifficultyRow]:
    """Average trial by trial over the questions of each bin of difficulty, greedy decoding among the values."""
    greedy = next((result.by_question[1] for result in results if result.trial.name == GREEDY), {})
    rows = []
    for result in results:
        if result.trial.name != GREEDY:
            values = {**result.by_question, 1: {**greedy, **result.by_question.get(1, {})}}
            correct = result.questions["correct"].to_numpy(dtype=np.int64)
            rows += difficulty_rows(values, correct, result.summary["samples"], trial=result.trial.name)
    return rows


def write_files(
    out: Path,
    config: RunConfig,
    rows: Sequence[CurveRow],
    results: Sequence[TrialResult],
    summary: dict[str, Any],
    objectives: Sequence[Objective] = (),
) -> list[Path]:
    """Write everything that a run directory holds; returns the files."""
    save_config(config, out / "config.yaml")
    drawn = write_drawings(out, f"{config.checkpoint} on {summary['task']}", rows, results, objectives)
    write_summary(out, summary)
    return [out / "config.yaml", *drawn, out / "summary.json"]


def write_drawings(
    out: Path,
    title: str,
    rows: Sequence[CurveRow],
    results: Sequence[TrialResult],
    objectives: Sequence[Objective] = (),
) -> list[Path]:
    """Write every table and picture that is made from the store alone; returns the files.

    The same store gives the same tables, byte by byte.
    """
    write_curves_csv(rows, out / "curves.csv")
    plot_curves_png(rows, out / "curves.png", title)
    plot_curves_html(rows, out / "curves.html", title)
    questions = pd.concat([result.questions for result in results])
    write_atomically(out / "questions.csv", questions.to_csv(index=False))
    names = ["curves.csv", "curves.png", "curves.html", "questions.csv"]
    # What an earlier state of the run had must not outlive it.
    for name in ("comparisons.csv", "difficulty.csv", "difficulty.png", "objectives.csv", "pareto.png"):
        (out / name).unlink(missing_ok=True)
    if comparisons := all_comparisons(results):
        write_comparisons_csv(comparisons, out / "comparisons.csv")
        names.append("comparisons.csv")
    if difficulties := all_difficulties(results):
        write_difficulty_csv(difficulties, out / "difficulty.csv")
        plot_difficulty_png(difficulties, out / "difficulty.png", title)
        names += ["difficulty.csv", "difficulty.png"]
    if objectives and (judged := judge(rows, objectives)):
        write_objectives_csv(judged, objectives, out / "objectives.csv")
        names.append("objectives.csv")
        if len(objectives) == 2:
            plot_pareto_png(judged, objectives, out / "pareto.png", title)
            names.append("pareto.png")
    return [out / name for name in names]


def write_summary(out: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`."""
    write_json(out / "summary.json", summary)
