"""Finalization of an experiment: results into files, MLflow and the terminal."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from latent_core.errors import WorkFailed
from orchestrator.analysis.dynamics import HeadSource
from orchestrator.analysis.evaluation import Evaluation, evaluate_all
from orchestrator.analysis.kept.adaptive import evaluate_adaptive
from orchestrator.analysis.kept.dynamics import evaluate_dynamics
from orchestrator.analysis.kept.results import KeptResults
from orchestrator.console import masked, masked_values, say
from orchestrator.experiment.actor_facts import NO_FACTS, ActorFacts
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.fingerprint import run_tags
from orchestrator.experiment.plan import Plan
from orchestrator.reporting.layout import trial_colours
from orchestrator.reporting.run_files import write_files
from orchestrator.reporting.tables import (
    print_missing_dynamics,
    print_objectives,
    print_places,
    print_results,
    summary_table,
)
from orchestrator.store.trial import Coverage, Trial
from orchestrator.tracking.server import tracking_uri
from orchestrator.tracking.tracker import Tracker


def start_tracking(experiment: Experiment, console: Console) -> Tracker:
    """Open the MLflow runs of an experiment: a parent with a child per trial, or one run for a single trial.

    A command that goes on with an experiment goes on with its runs.
    """
    config, plan = experiment.plan.config, experiment.plan
    uri = tracking_uri(config.tracking, experiment.out)
    tracker = Tracker(uri, config.tracking.experiment, experiment.out, experiment.fingerprint, partial(say, console))
    params = masked_values(config.model_dump(mode="json", exclude={"sweep", "tracking", "cluster"}))
    params["latent_steps"], params["answer_tokens"] = plan.latent_steps, plan.answer_tokens
    if config.budget is None:
        del params["budget"]
    tags = run_tags(plan)
    if experiment.open_ended or len(experiment.trials) > 1:
        tracker.start_parent(experiment.name, {key: value for key, value in params.items() if key != "sampler"}, tags)
        for trial in experiment.sampled_trials():
            track_trial(tracker, plan, trial)
    else:
        trial = experiment.sampled_trials()[-1]
        title = f"{experiment.name}: {trial.name}"
        tracker.start_child(trial.name, params, {**tags, "sampler": trial.sampler}, title)
    return tracker


def track_trial(tracker: Tracker, plan: Plan, trial: Trial) -> None:
    """Open the MLflow run of a trial of a sweep."""
    spec = trial.store.spec
    params = {"sampler": spec.sampler, "latent_steps": spec.latent_steps, "budgets": list(trial.budgets)}
    tracker.start_child(trial.name, params, {**run_tags(plan), "sampler": trial.sampler})


def finalize(
    experiment: Experiment,
    coverage: Mapping[str, Coverage],
    tracker: Tracker,
    sampled: int,
    seconds: float,
    console: Console,
    facts: ActorFacts = NO_FACTS,
) -> None:
    """Evaluate what the store holds, write the run directory, close the MLflow runs, and print the tables.

    Args:
        experiment: The experiment.
        coverage: What the store holds, by the name of the trial.
        tracker: Its open runs.
        sampled: Trajectories that this command has sampled.
        seconds: How long that took.
        console: Where remarks go; the results go to standard output.
        facts: What its actors say of the work.

    Raises:
        WorkFailed: If every trajectory has failed; what there is to say about them is written by then.
    """
    plan = experiment.plan
    results = evaluate_all(experiment.sampled_trials(), plan.task, coverage)
    kept = KeptResults(experiment.out)
    dynamics = evaluate_dynamics(results, plan.task, HeadSource(lambda: plan.checkpoint), coverage, kept)
    gains = None if plan.scorer is None else plan.scorer.gains
    adaptive = evaluate_adaptive(results, plan.task, gains=gains, kept=kept)
    kept.save()
    evaluation = Evaluation(results, plan.task, plan.config.budgets, experiment.objectives, dynamics, adaptive)
    tracker.log_curves(evaluation.rows, trial_colours(evaluation.rows))
    for result in results:
        tracker.log_counts(result.trial.name, result.summary)
    for one_trial in dynamics:
        tracker.log_dynamics(one_trial.trial, one_trial.rows)
    tracker.log_adaptive(adaptive)
    tracker.describe(summary_table(evaluation.rows))
    for one in evaluation.judged:
        points = [
            (f"objective.{objective.key}", value, 0)
            for objective, value in zip(experiment.objectives, one.values, strict=True)
        ]
        tracker.log(one.trial, points, final=True)
    # The link needs the ids that MLflow gives its runs.
    tracker.flush()
    # The first curves to look at are those that the sweep is about.
    headline = plan.config.sweep.objectives[0].aggregation
    summary = {
        "name": experiment.name,
        "checkpoint": {"source": plan.config.checkpoint, "fingerprint": plan.checkpoint.fingerprint},
        "task": plan.task.name,
        "task_fingerprint": plan.task_fingerprint,
        "questions": len(plan.task.problems),
        "references": asdict(plan.references),
        "seed": plan.config.seed,
        "scorer": _scorer(plan),
        "trials": [result.summary for result in results],
        "dynamics": {one.trial: one.summary() for one in dynamics},
        "objectives": [objective.text for objective in experiment.objectives],
        "best": [one.trial for one in evaluation.judged if one.best],
        "trajectories_sampled_by_this_command": sampled,
        "seconds": round(seconds, 3),
        "row_invariance": facts.row_invariance,
        "prompts": facts.prompts,
        "mlflow": {
            "uri": masked(tracker.uri),
            "experiment_id": tracker.experiment_id,
            "link": tracker.ui_link(headline),
            "run_link": tracker.run_link(),
        },
        "versions": {
            name: importlib.metadata.version(name) for name in ("latentswarm", "torch", "transformers", "ray")
        },
    }
    files = write_files(experiment.out, plan.config, evaluation, summary)
    tracker.log_files(files)
    tracker.log_table(experiment.out / "questions.csv")
    all_failed = all(result.summary["errors"] == result.summary["trajectories"] for result in results)
    tracker.end("FAILED" if all_failed else "FINISHED")
    left = tracker.close()
    if not facts.rows_hold:
        say(
            console,
            "on this processor the last bits of a trajectory may depend on the batch it was computed in; "
            "row_invariance in summary.json names the matrix products",
        )
    if left:
        say(
            console,
            f"tracking: {left} records have not reached {masked(tracker.uri)}; {tracker.left()}",
        )
    output = Console()
    print_results(evaluation, output, console)
    print_objectives(evaluation.judged, experiment.objectives, output)
    print_missing_dynamics(evaluation, output)
    print_places(list(_places(experiment.out, tracker, headline)), output)
    if all_failed:
        raise WorkFailed(_most_frequent_failure(experiment))


def _most_frequent_failure(experiment: Experiment) -> str:
    questions = len(experiment.plan.problems)
    trials = experiment.sampled_trials()
    errors = pd.concat([trial.store.read(questions, trial.samples, ["error"])["error"] for trial in trials])
    counts = errors.value_counts()
    reason = " ".join(str(counts.index[0]).split())[:300]
    return f"all {len(errors):,} trajectories have failed; {int(counts.iloc[0]):,} of them with: {reason}"


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


def _places(out: Path, tracker: Tracker, headline: str) -> Iterator[tuple[str, object]]:
    """Say where the results are."""
    yield "picture", out / "curves.png"
    yield "interactive", out / "curves.html"
    yield "all files", out
    if tracker.ui_command() is not None:
        yield "MLflow UI", tracker.ui_command()
    if (link := tracker.ui_link(headline)) is not None:
        yield "curves there", link
    if (link := tracker.run_link()) is not None:
        yield "run there", link
