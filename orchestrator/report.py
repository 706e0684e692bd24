"""From the store to what a person reads: curves, tables, pictures and a summary in the run directory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from latent_core.tasks.base import Task
from orchestrator.config import RunConfig, save_config
from orchestrator.curves import CurveRow, curve_rows, greedy_row, guess_rows, outcomes_from_records, write_curves_csv
from orchestrator.plots import plot_curves_png
from orchestrator.plots_html import plot_curves_html
from orchestrator.results import CURVE_COLUMNS, reference_answers, sampled_so_far
from orchestrator.setting import Setting

_COLUMNS = (*CURVE_COLUMNS, "latent_steps", "answer_tokens", "seconds")


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
    problems = task.problems
    samples = sampled_so_far(setting, len(problems))
    records = setting.store.read(len(problems), samples, _COLUMNS)
    outcomes = outcomes_from_records(records, reference_answers(problems))
    if setting.sampler == "none":
        rows = [greedy_row(outcomes, records, trial=setting.name)]
    else:
        rows = curve_rows(outcomes, records, setting.budgets, trial=setting.name, sampler=setting.sampler)
    failed = records["error"].notna()
    unparsable = records["answer"].isna() & ~failed
    summary = {
        "trial": setting.name,
        "sampler": setting.store.spec.sampler,
        "samples": samples,
        "trajectories": len(records),
        "errors": int(failed.sum()),
        "first_error": next(iter(records.loc[failed, "error"]), None),
        "unparsable": int(unparsable.sum()),
        "latent_steps": int(records["latent_steps"].sum()),
        "answer_tokens": int(records["answer_tokens"].sum()),
        "device_seconds": float(records["seconds"].sum()),
        "store": setting.store.spec.key,
    }
    per_question = records.assign(failed=failed, unparsable=unparsable).groupby("question_id", sort=False)
    questions = pd.DataFrame(
        {
            "trial": setting.name,
            "samples": per_question.size(),
            "correct": per_question["correct"].sum(),
            "errors": per_question["failed"].sum(),
            "unparsable": per_question["unparsable"].sum(),
            "distinct_answers": per_question["answer"].nunique(),
            "most_frequent_answer": per_question["answer"].agg(_most_frequent),
        }
    ).reset_index()
    return SettingResult(setting, rows, summary, questions)


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
