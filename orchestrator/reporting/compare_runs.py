"""Several runs beside each other: one table of curves, one picture, and a summary table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

from latent_core.trajectory import CutAnswers
from orchestrator.analysis.comparisons import Comparison, write_comparisons_csv
from orchestrator.analysis.curves import COLUMNS, CurveRow
from orchestrator.analysis.run_comparisons import RunPoints, at_largest_budget, compare_runs
from orchestrator.files import write_atomically, write_csv
from orchestrator.names import GREEDY, RANDOM_GUESS
from orchestrator.reporting.artifacts import Artifact, write_artifacts
from orchestrator.reporting.escaping import in_markdown
from orchestrator.reporting.layout import COVERAGE, aggregations, title
from orchestrator.reporting.paper import FIGURES, Paper, latex_tables
from orchestrator.reporting.pictures import digest
from orchestrator.reporting.plots.curves_html import plot_curves_html
from orchestrator.reporting.plots.curves_png import plot_curves_png
from orchestrator.reporting.plots.style import drawn_as, paper_style

_MAJORITY_VOTE = "majority_vote"


@dataclass(frozen=True)
class ReportedRun:
    """A run that is compared with others.

    Attributes:
        name: What it is called.
        checkpoint: What it calls its checkpoint.
        checkpoint_fingerprint: Which one that is.
        task: Name of its task.
        asked: Which questions it asked: fingerprint of the task, and how many of them.
        rows: Its curves.
        points: The same, question by question, for whatever is paired.
        cut_answers: What became of answers that were cut off.
    """

    name: str
    checkpoint: str
    checkpoint_fingerprint: str
    task: str
    asked: tuple[str, int]
    rows: Sequence[CurveRow]
    points: RunPoints
    cut_answers: CutAnswers = "abstain"


@dataclass(frozen=True)
class _Compared:
    """What the files of a comparison are made of."""

    runs: Sequence[ReportedRun]

    @cached_property
    def differences(self) -> list[Comparison]:
        return compare_runs([run.points for run in self.runs])


def title_of(runs: Sequence[ReportedRun]) -> str:
    """Return the heading of a comparison, which says whether it compares what can be compared."""
    same_model = len({run.checkpoint_fingerprint for run in runs}) == 1
    same_questions = len({run.asked for run in runs}) == 1
    model = runs[0].checkpoint if same_model else "different checkpoints"
    questions = runs[0].task if same_questions else "different questions"
    *names, last = _few([run.name for run in runs])
    counted = "" if _counted_alike(runs) else ", cut answers counted differently"
    return f"{', '.join(names)} and {last}: {model} on {questions}{counted}"


def _counted_alike(runs: Sequence[ReportedRun]) -> bool:
    return len({run.cut_answers for run in runs}) == 1


def named_rows(runs: Sequence[ReportedRun]) -> list[tuple[str, CurveRow]]:
    """Return all rows with the name of their run.

    A trial is called "RUN: TRIAL" where another run has one of that name, and everywhere if the runs differ in their
    checkpoint, their questions or what becomes of cut answers: then the same setting is another curve.
    """
    differ = len({(run.checkpoint_fingerprint, run.asked, run.cut_answers) for run in runs}) > 1
    owners: dict[str, set[str]] = {}
    for run in runs:
        for row in run.rows:
            owners.setdefault(row.trial, set()).add(run.name)
    return [
        (
            run.name,
            replace(row, trial=f"{run.name}: {row.trial}" if differ or len(owners[row.trial]) > 1 else row.trial),
        )
        for run in runs
        for row in run.rows
    ]


def figure_rows(runs: Sequence[ReportedRun]) -> list[CurveRow]:
    """Return the rows that the picture of a comparison shows.

    Greedy decoding and guesses that all runs share stay the lines that they are in every picture. Where they differ,
    each run's own becomes a trial: greedy decoding as a point at N = 1, which is what it is.
    """
    named = named_rows(runs)
    rows: list[CurveRow] = []
    for run, row in named:
        if row.aggregation not in (GREEDY, RANDOM_GUESS):
            # Colours go by sampler: curves of different runs must not share one.
            sampler = f"{run}: {row.sampler}" if row.trial.startswith(f"{run}: ") else row.sampler
            rows.append(replace(row, sampler=sampler))
    shown = [name for name in (COVERAGE, _MAJORITY_VOTE) if name in {row.aggregation for row in rows}] or [COVERAGE]
    for baseline, places in ((GREEDY, shown), (RANDOM_GUESS, [COVERAGE])):
        own = [row for _, row in named if row.aggregation == baseline]
        by_budget: dict[int, set[tuple[float, float, float]]] = {}
        for row in own:
            by_budget.setdefault(row.n, set()).add((row.value, row.lo, row.hi))
        if all(len(values) == 1 for values in by_budget.values()):
            rows += {row.n: replace(row, trial=baseline) for row in own}.values()
        else:
            rows += [replace(row, sampler=row.trial, aggregation=place) for place in places for row in own]
    return rows


def summary_table(runs: Sequence[ReportedRun]) -> str:
    """Return a Markdown table: of every aggregation, each run's best trial at the largest budget that all of them have.

    Where a single run has an aggregation, that is its own largest budget.
    """
    lines = ["| | N | run | trial | % correct [95 % interval] | FLOPs per question |", "|---|---|---|---|---|---|"]
    everything = [row for run in runs for row in run.rows]
    for name in (GREEDY, *aggregations(everything)):
        best = {run.name: found for run in runs if (found := _best_by_budget(run.rows, name))}
        common = set.intersection(*(set(found) for found in best.values())) if best else set()
        if common:
            n = max(common)
            lines += [_line(name, run, found[n]) for run, found in best.items()]
        elif best:
            lines.append(
                f"| {in_markdown(title(name))} | - | {in_markdown(', '.join(best))} | | no budget in common | |"
            )
    return "\n".join(lines)


def difference_table(comparisons: Sequence[Comparison]) -> str:
    """Return a Markdown table of paired differences, each aggregation at its largest budget."""
    lines = ["| | N | run: trial | minus | points [95 % interval] | p (Holm) |", "|---|---|---|---|---|---|"]
    for one in at_largest_budget(comparisons):
        points = f"{100 * one.difference:+.1f} [{100 * one.lo:+.1f}, {100 * one.hi:+.1f}]"
        names = [in_markdown(name) for name in (one.trial, one.baseline_trial)]
        lines.append(
            f"| {in_markdown(title(one.aggregation))} | {one.n} | {' | '.join(names)} | {points} | {one.p_holm:.2g} |"
        )
    return "\n".join(lines)


def write_comparison(runs: Sequence[ReportedRun], out: Path, paper: Paper | None = None) -> list[Path]:
    """Write the comparison of runs into a directory that exists; returns the files.

    Args:
        runs: The runs.
        out: The directory.
        paper: In which formats the curves are drawn for a paper besides, if any.
    """
    if paper is not None:
        rows = figure_rows(runs)
        (out / FIGURES).mkdir(exist_ok=True)
        with drawn_as(paper_style(paper.columns)):
            for form in paper.formats:
                plot_curves_png(rows, out / FIGURES / f"curves.{form}", title_of(runs))
        write_atomically(out / FIGURES / "tables.tex", latex_tables(rows))
    shown = [
        (run.name, run.checkpoint, run.checkpoint_fingerprint, run.task, run.asked, run.cut_answers, run.rows)
        for run in runs
    ]
    return write_artifacts(_ARTIFACTS, _Compared(runs), out, digest(repr(shown).encode()))


def _write_png(compared: _Compared, path: Path) -> None:
    plot_curves_png(figure_rows(compared.runs), path, title_of(compared.runs))


def _write_html(compared: _Compared, path: Path) -> None:
    plot_curves_html(figure_rows(compared.runs), path, title_of(compared.runs))


def _write_csv(compared: _Compared, path: Path) -> None:
    write_csv(path, ("run", *COLUMNS), ((run, *astuple(row)) for run, row in named_rows(compared.runs)))


def _write_comparisons(compared: _Compared, path: Path) -> None:
    write_comparisons_csv(compared.differences, path)


def _write_page(compared: _Compared, path: Path) -> None:
    parts = [f"# {in_markdown(title_of(compared.runs))}", summary_table(compared.runs), _caveat(compared.runs)]
    if compared.differences:
        questions = sorted({one.questions for one in compared.differences})
        asked = f"{questions[0]:,}" if len(questions) == 1 else f"{questions[0]:,} to {questions[-1]:,}"
        said = f"Differences on the {asked} questions in common, paired; p-values are corrected for all lines of"
        parts += [f"{said} comparisons.csv.", difference_table(compared.differences)]
    write_atomically(path, "\n\n".join(parts) + "\n")


_ARTIFACTS: Sequence[Artifact[_Compared]] = (
    Artifact("curves.png", _write_png),
    Artifact("curves.html", _write_html),
    Artifact("curves.csv", _write_csv),
    Artifact("comparisons.csv", _write_comparisons, lambda compared: bool(compared.differences)),
    Artifact("comparison.md", _write_page),
)
COMPARISON_FILES: Sequence[str] = tuple(artifact.name for artifact in _ARTIFACTS)
"""Names of the files that a comparison writes."""


def _best_by_budget(rows: Sequence[CurveRow], aggregation: str) -> Mapping[int, CurveRow]:
    best: dict[int, CurveRow] = {}
    for row in rows:
        known = not math.isnan(row.value) and row.aggregation == aggregation
        if known and (row.n not in best or row.value > best[row.n].value):
            best[row.n] = row
    return best


def _line(aggregation: str, run: str, row: CurveRow) -> str:
    value, low, high = (f"{100 * number:.1f}" for number in (row.value, row.lo, row.hi))
    questions = row.trajectories / row.n
    flops = "-" if math.isnan(row.flops) else f"{row.flops / questions:.3g}"
    names = [in_markdown(name) for name in (run, row.trial)]
    return f"| {in_markdown(title(aggregation))} | {row.n} | {' | '.join(names)} | {value} [{low}, {high}] | {flops} |"


def _caveat(runs: Sequence[ReportedRun]) -> str:
    chosen = (
        "A line is the best of its run's trials, chosen on the same questions, which flatters a run of many trials."
    )
    if not _counted_alike(runs):
        settings = ", ".join(f"{run.name} {run.cut_answers}" for run in runs)
        chosen += (
            f" Answers that were cut off count differently (task.cut_answers: {settings}): part of what differs may be "
            "that; the same command with the other value samples nothing anew."
        )
    if len({run.asked for run in runs}) == 1:
        return f"{chosen} All runs ask the same questions: intervals that overlap can hide a clear difference."
    return f"{chosen} The runs ask different questions: what differs may be the questions."


def _few(names: Sequence[str], most: int = 3) -> Sequence[str]:
    return names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
