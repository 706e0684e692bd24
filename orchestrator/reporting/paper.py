"""Figures and tables for a paper: PDF, SVG or PNG as wide as its columns, LaTeX tables, and what captions must say."""

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from latent_core.dynamics.dynamics import MOST_SAMPLES
from latent_core.selection.intervals import DEFAULT_LEVEL
from orchestrator.analysis.curves import CurveRow
from orchestrator.files import write_atomically, write_json
from orchestrator.names import GREEDY
from orchestrator.reporting.artifacts import Report, registered_artifacts
from orchestrator.reporting.escaping import in_latex
from orchestrator.reporting.layout import aggregations, budgets, curve, title, trials
from orchestrator.reporting.plots.style import Columns, drawn_as, paper_style

FIGURES: Final = "figures"
"""The folder of a run directory that they are written to."""

FORMATS: Final = ("pdf", "svg", "png")
_INTERVALS = (
    f"{DEFAULT_LEVEL:.0%} intervals over questions, with pseudo-questions (Agresti and Coull 1998); differences are "
    "paired"
)


@dataclass(frozen=True)
class Paper:
    """What is written for a paper.

    Attributes:
        formats: Some of `FORMATS`.
        columns: How many columns of the page a figure is wide.
    """

    formats: Sequence[str]
    columns: Columns = 2


def write_paper(report: Report, out: Path, paper: Paper) -> list[Path]:
    """Write every picture of a report in each format, its curves as LaTeX tables, and what captions must say.

    Args:
        report: The report.
        out: The run directory.
        paper: The formats and the width.

    Returns:
        The files.
    """
    folder = out / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with drawn_as(paper_style(paper.columns)):
        for artifact in sorted(registered_artifacts(), key=lambda artifact: artifact.place):
            stem, _, suffix = artifact.name.rpartition(".")
            if suffix == "png" and artifact.applies(report):
                for form in paper.formats:
                    artifact.write(report, folder / f"{stem}.{form}")
                    files.append(folder / f"{stem}.{form}")
    write_atomically(folder / "tables.tex", latex_tables(report.evaluation.rows))
    write_json(folder / "captions.json", captions(report))
    return [*files, folder / "tables.tex", folder / "captions.json"]


def latex_tables(rows: Sequence[CurveRow]) -> str:
    r"""Return a table per aggregation for LaTeX with `\usepackage{booktabs}`: settings by budget, in percent."""
    return "\n".join(_latex_table(rows, name) for name in aggregations(rows))


def _latex_table(rows: Sequence[CurveRow], aggregation: str) -> str:
    columns = budgets([row for row in rows if row.aggregation == aggregation])
    lines = [
        f"% {title(aggregation)}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["sampler setting", *(f"$N={n}$" for n in columns)]) + r" \\",
        r"\midrule",
    ]
    for greedy in curve(rows, GREEDY):
        # The one value of greedy decoding belongs to no budget.
        lines.append(rf"greedy & \multicolumn{{{len(columns)}}}{{c}}{{{_latex_cell(greedy)}}} \\")
    for trial in trials(rows):
        own = {row.n: row for row in curve(rows, aggregation, trial.name)}
        if own:
            cells = [_latex_cell(own[n]) if n in own else "--" for n in columns]
            lines.append(" & ".join([in_latex(trial.name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(row: CurveRow) -> str:
    if math.isnan(row.value):
        return "--"
    return rf"{100 * row.value:.1f}\,{{\scriptsize[{100 * row.lo:.1f}, {100 * row.hi:.1f}]}}"


def captions(report: Report) -> Mapping[str, Any]:
    """Return the numbers that a caption has to say: questions, samples, seed, intervals, and what was run."""
    made = report.evaluation
    spec = made.trials[0].trial.store.spec
    return {
        "title": report.title,
        "questions": len(made.task.problems),
        "task": made.task.name,
        "task_fingerprint": spec.task,
        "checkpoint_fingerprint": spec.checkpoint,
        "latent_steps": spec.latent_steps,
        "answer_tokens": spec.answer_tokens,
        "precision": spec.dtype,
        "seed": spec.seed,
        "samples": {result.trial.name: result.summary["samples"] for result in made.trials},
        "samples_of_dynamics": MOST_SAMPLES,
        "intervals": _INTERVALS,
        "latentswarm": importlib.metadata.version("latentswarm"),
    }
