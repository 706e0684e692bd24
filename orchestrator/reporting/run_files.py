"""Files of a run directory: tables and the summary. The pictures are in `orchestrator.reporting.plots`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.analysis.adaptive import write_adaptive_csv
from orchestrator.analysis.comparisons import write_comparisons_csv
from orchestrator.analysis.curves import write_curves_csv
from orchestrator.analysis.difficulty import write_difficulty_csv
from orchestrator.analysis.dynamics_rows import write_dynamics_csv
from orchestrator.analysis.evaluation import Evaluation
from orchestrator.analysis.frontier import write_frontier_csv
from orchestrator.analysis.pareto import write_objectives_csv
from orchestrator.config.loading import save_config
from orchestrator.config.run import RunConfig
from orchestrator.files import write_atomically, write_json
from orchestrator.reporting.artifacts import Report, register_artifact, registered_artifacts, write_artifacts


def write_files(out: Path, config: RunConfig, evaluation: Evaluation, summary: Mapping[str, Any]) -> list[Path]:
    """Write everything that a run directory holds; returns the files."""
    save_config(config, out / "config.yaml")
    report = Report(f"{config.checkpoint} on {summary['task']}", evaluation, summary)
    return [out / "config.yaml", *write_report(out, report)]


def write_report(out: Path, report: Report) -> list[Path]:
    """Write every table and picture of a report; returns the files.

    The same store gives the same tables, byte by byte. A picture that would look the same is not drawn again.
    """
    return write_artifacts(registered_artifacts(), report, out, report.content())


@register_artifact("curves.csv", place=0)
def _curves(report: Report, path: Path) -> None:
    write_curves_csv(report.evaluation.rows, path)


@register_artifact("questions.csv", place=3)
def _questions(report: Report, path: Path) -> None:
    questions = pd.concat([result.questions for result in report.evaluation.trials])
    write_atomically(path, questions.to_csv(index=False))


@register_artifact("comparisons.csv", lambda report: bool(report.evaluation.comparisons), place=4)
def _comparisons(report: Report, path: Path) -> None:
    write_comparisons_csv(report.evaluation.comparisons, path)


@register_artifact("difficulty.csv", lambda report: bool(report.evaluation.difficulties), place=5)
def _difficulty(report: Report, path: Path) -> None:
    write_difficulty_csv(report.evaluation.difficulties, path)


@register_artifact("objectives.csv", lambda report: bool(report.evaluation.judged), place=7)
def _objectives(report: Report, path: Path) -> None:
    write_objectives_csv(report.evaluation.judged, report.evaluation.objectives, path)


@register_artifact("dynamics.csv", lambda report: any(one.rows for one in report.evaluation.dynamics), place=9)
def _dynamics(report: Report, path: Path) -> None:
    write_dynamics_csv(report.evaluation.dynamics, path)


@register_artifact("frontier.csv", lambda report: bool(report.evaluation.frontier), place=11)
def _frontier(report: Report, path: Path) -> None:
    write_frontier_csv(report.evaluation.frontier, path)


@register_artifact("adaptive.csv", lambda report: bool(report.evaluation.adaptive), place=13)
def _adaptive(report: Report, path: Path) -> None:
    write_adaptive_csv(report.evaluation.adaptive, path)


# What a command has done stands there, which the store does not know: a report leaves it as it is.
@register_artifact("summary.json", lambda report: report.summary is not None, place=1000, lasting=True)
def _summary(report: Report, path: Path) -> None:
    write_json(path, report.summary)
