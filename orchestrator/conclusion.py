"""The end of an experiment: results into files, MLflow and the terminal."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.comparisons import print_comparisons
from orchestrator.curves import CurveRow
from orchestrator.experiment import Experiment
from orchestrator.headline import headline
from orchestrator.identity import identity, run_tags
from orchestrator.plan import Plan
from orchestrator.report import SettingResult, all_comparisons, all_rows, evaluate, write_files, write_summary
from orchestrator.results import sampled_so_far
from orchestrator.setting import Setting
from orchestrator.tables import print_tables
from orchestrator.tracking import Tracker, tracking_uri


def start_tracking(experiment: Experiment, console: Console) -> Tracker:
    """Open the MLflow runs of an experiment: a parent with a child per setting, or one run for a single setting.

    A command that goes on with an experiment goes on with its runs.
    """
    config, plan = experiment.plan.config, experiment.plan

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    uri = tracking_uri(config.tracking, experiment.out)
    tracker = Tracker(uri, config.tracking.experiment, experiment.out, identity(experiment), say)
    params = config.model_dump(mode="json", exclude={"sweep", "tracking", "cluster"})
    params["latent_steps"], params["answer_tokens"] = plan.latent_steps, plan.answer_tokens
    tags = run_tags(plan)
    if len(experiment.settings) > 1:
        tracker.start_parent(experiment.name, {key: value for key, value in params.items() if key != "sampler"}, tags)
        for setting in experiment.sampled_settings():
            sampler = {"sampler": setting.store.spec.sampler}
            tracker.start_child(setting.name, sampler, {**tags, "sampler": setting.sampler})
    else:
        setting = experiment.sampled_settings()[-1]
        tracker.start_child(setting.name, params, {**tags, "sampler": setting.sampler})
    return tracker


def conclude(experiment: Experiment, tracker: Tracker, missing: int, seconds: float, console: Console) -> None:
    """Evaluate what the store holds, write the run directory, close the MLflow runs, and print the tables.

    Args:
        experiment: The experiment.
        tracker: Its open runs.
        missing: Trajectories that the store lacked at the start.
        seconds: How long that took.
        console: Where remarks go; the results go to standard output.
    """
    plan = experiment.plan
    results = [
        evaluate(setting, plan.task, experiment.searches_of(setting))
        for setting in experiment.sampled_settings()
        if _has_samples(setting, plan)
    ]
    rows = all_rows(results, plan.task, plan.config.budgets)
    tracker.log_curves(rows)
    tracker.describe(headline(rows))
    # The link needs the ids that MLflow gives its runs.
    tracker.flush()
    summary = {
        "name": experiment.name,
        "checkpoint": {"source": plan.config.checkpoint, "fingerprint": plan.checkpoint.fingerprint},
        "task": plan.task.name,
        "task_fingerprint": plan.task_fingerprint,
        "questions": len(plan.task.problems),
        "seed": plan.config.seed,
        "scorer": _scorer(plan),
        "trials": [result.summary for result in results],
        "trajectories_sampled_by_this_command": missing - experiment.missing(),
        "seconds": round(seconds, 3),
        "mlflow": {"uri": tracker.uri, "experiment_id": tracker.experiment_id, "link": tracker.ui_link()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("latentswarm", "torch", "transformers", "ray")
        },
    }
    files = write_files(experiment.out, plan.config, rows, results, summary)
    write_summary(experiment.out, summary)
    tracker.log_files(files)
    tracker.log_table(experiment.out / "questions.csv")
    tracker.end()
    left = tracker.close()
    if left:
        console.print(
            f"tracking: {left} records have not reached {tracker.uri}; they wait in "
            f"{tracker.journal.file}, and the same command sends them",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    _print_results(experiment.out, tracker, rows, results, console)


def _scorer(plan: Plan) -> dict[str, Any] | None:
    if plan.scorer is None:
        return None
    answer = plan.scorer.answer_calibration.model_dump(mode="json") if plan.scorer.score_answer else None
    return {
        "source": plan.config.scorer.checkpoint,
        "fingerprint": plan.scorer.reward.fingerprint,
        "score_answer": plan.scorer.score_answer,
        "vote_calibration": plan.scorer.calibration.model_dump(mode="json"),
        "answer_vote_calibration": answer,
    }


def _has_samples(setting: Setting, plan: Plan) -> bool:
    return sampled_so_far(setting, len(plan.task.problems)) > 0


def _print_results(
    out: Path, tracker: Tracker, rows: Sequence[CurveRow], results: Sequence[SettingResult], console: Console
) -> None:
    output = Console()
    print_tables(rows, output)
    comparisons = all_comparisons(results)
    largest = max((one.n for one in comparisons), default=0)
    # The file has all budgets; a terminal is for the one that was paid for.
    print_comparisons([one for one in comparisons if one.n == largest], output)
    for result in results:
        for summary in (result.summary, *result.summary["searches"]):
            for line in _failures(summary):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
    lines: list[tuple[str, object]] = [
        ("picture", out / "curves.png"),
        ("interactive", out / "curves.html"),
        ("all files", out),
    ]
    if tracker.ui_command() is not None:
        lines.append(("MLflow UI", tracker.ui_command()))
    if tracker.ui_link() is not None:
        lines.append(("curves there", tracker.ui_link()))
    for label, value in lines:
        output.print(f"{label:<13} {value}", soft_wrap=True, highlight=False, markup=False)


def _failures(summary: dict[str, Any]) -> Iterator[str]:
    """Say what went wrong in a setting, if anything did."""
    if summary["errors"]:
        yield (
            f"{summary['trial']}: {summary['errors']} of {summary['trajectories']} trajectories failed and count as "
            f"wrong; the first: {summary['first_error']}"
        )
    if summary.get("unscored"):
        yield f"{summary['trial']}: {summary['unscored']} of {summary['trajectories']} trajectories have no score"
