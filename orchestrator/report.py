"""From the store to what a person reads: curves, tables, pictures and a summary in the run directory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from latent_core.tasks.base import Task
from orchestrator.config import RunConfig, save_config
from orchestrator.curves import GREEDY, Cost, CurveRow, cost_of, curve_rows, greedy_row, guess_rows, write_curves_csv
from orchestrator.outcomes import join_outcomes, outcomes_from_records
from orchestrator.plots import plot_curves_png
from orchestrator.plots_html import plot_curves_html
from orchestrator.results import CURVE_COLUMNS, blocks, reference_answers, sampled_so_far
from orchestrator.setting import Setting

_COLUMNS = (*CURVE_COLUMNS, "latent_steps", "answer_tokens", "seconds")
_TOTALS = ["failed", "unparsable", "latent_steps", "answer_tokens", "seconds"]


@dataclass(frozen=True)
class SettingResult:
    """What a setting came to.

    Attributes:
        setting: The setting.
        rows: Its curves.
        summary: Its counts for `summary.json`.
        questions: One line per question.
    """

    setting: Setting
    rows: list[CurveRow]
    summary: dict[str, Any]
    questions: pd.DataFrame


def evaluate(setting: Setting, task: Task) -> SettingResult:
    """Read a setting's trajectories and compute its curves and counts.

    Budgets beyond what has been sampled, because the setting was stopped early, have the value NaN.
    """
    samples = sampled_so_far(setting, len(task.problems))
    outcomes, questions, first_error = [], [], None
    cost, totals = Cost(), pd.Series(0.0, index=_TOTALS)
    for records, problems in blocks(setting, task.problems, samples, _COLUMNS):
        outcomes.append(outcomes_from_records(records, reference_answers(problems)))
        cost += cost_of(records)
        failed = records["error"].notna()
        records = records.assign(failed=failed, unparsable=records["answer"].isna() & ~failed)
        questions.append(_per_question(records, setting.name))
        totals = totals + records[_TOTALS].sum()
        first_error = first_error or next(iter(records.loc[failed, "error"]), None)
    joined = join_outcomes(outcomes)
    if setting.name == GREEDY:
        rows = [greedy_row(joined, cost)]
    else:
        rows = curve_rows(joined, cost, setting.budgets, trial=setting.name, sampler=setting.sampler)
    summary = {
        "trial": setting.name,
        "sampler": setting.store.spec.sampler,
        "samples": samples,
        "trajectories": joined.correct.size,
        "errors": int(totals["failed"]),
        "first_error": first_error,
        "unparsable": int(totals["unparsable"]),
        "latent_steps": int(totals["latent_steps"]),
        "answer_tokens": int(totals["answer_tokens"]),
        "device_seconds": float(totals["seconds"]),
        "store": setting.store.spec.key,
    }
    return SettingResult(setting, rows, summary, pd.concat(questions, ignore_index=True))


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
        }
    ).reset_index()


def _most_frequent(answers: "pd.Series[Any]") -> Any:
    return next(iter(answers.mode()), None)


def all_rows(results: Sequence[SettingResult], task: Task, budgets: Sequence[int]) -> list[CurveRow]:
    """Join the curves of all settings, and the guessing baseline where the task knows its answers' distribution."""
    rows = [row for result in results for row in result.rows]
    if task.guess_weights is not None:
        rows.extend(guess_rows(task.guess_weights, reference_answers(task.problems), budgets))
    return rows


def write_files(
    out: Path, config: RunConfig, rows: Sequence[CurveRow], results: Sequence[SettingResult], summary: dict[str, Any]
) -> list[Path]:
    """Write everything that a run directory holds; returns the files."""
    title = f"{config.checkpoint} on {summary['task']}"
    save_config(config, out / "config.yaml")
    write_curves_csv(rows, out / "curves.csv")
    plot_curves_png(rows, out / "curves.png", title)
    plot_curves_html(rows, out / "curves.html", title)
    pd.concat([result.questions for result in results]).to_csv(out / "questions.csv", index=False)
    write_summary(out, summary)
    names = ("config.yaml", "curves.csv", "curves.png", "curves.html", "questions.csv", "summary.json")
    return [out / name for name in names]


def write_summary(out: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`."""
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
