"""The end of a run or a sweep: what is in the store becomes files, MLflow runs and words."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console
from support import trajectory_table

from latent_core.errors import WorkFailed
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.experiment import Experiment, missing
from orchestrator.experiment.finalize import finalize, start_tracking
from orchestrator.store.shards import Shard
from orchestrator.store.trial import Trial

ERROR = "RuntimeError: shape '[2, 3]' is invalid for input [/of size 7]"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def content(
    tiny_checkpoint: Path, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """Two questions, up to four samples."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": f"ann has {number} pens ?", "answer": number} for number in (3, 4)]))
    return {
        "checkpoint": str(tiny_checkpoint),
        "task": {"path": str(data)},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "budgets": [1, 2, 4],
        "store": {"path": str(tmp_path / "store")},
        "tracking": {"uri": uri, "experiment": request.node.name},
    }


def sample(trial: Trial, problems: tuple[Problem, ...], samples: int, error: str | None = None) -> None:
    """Store samples: the first question is right, the second one wrong, or failed where there is an error."""
    rows = []
    for index, problem in enumerate(problems):
        for number in range(samples):
            if index == 1 and error:
                rows.append(Trajectory.failed(problem, number, error))
                continue
            answer = problem.answer if index == 0 else "99"
            correct = index == 0
            rows.append(
                Trajectory(
                    *(problem.question_id, number, f"# {answer}", answer, correct, 6, 3, (), None, 1.0, 2.0, 0.1),
                    answer_logprob=-0.5,
                    token_entropy=0.1,
                )
            )
    trial.store.prepare()
    trial.store.write(Shard(0, len(problems), 0, samples), trajectory_table(rows, 0, samples))


def end(experiment: Experiment, sampled: int = 0) -> tuple[dict[str, Any], str, MlflowClient]:
    """Finalize an experiment; returns its summary, its remarks, and a client of its database."""
    remarks = io.StringIO()
    experiment.out.mkdir(parents=True, exist_ok=True)
    console = Console(file=remarks, width=80)
    tracker = start_tracking(experiment, console)
    finalize(experiment, experiment.coverage(), tracker, sampled, 1.5, console)
    return json.loads((experiment.out / "summary.json").read_text()), remarks.getvalue(), MlflowClient(tracker.uri)


def test_a_run(content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = plan_run("mine", parse_config(RunConfig, content), tmp_path / "runs" / "mine")
    for trial in experiment.all_trials():
        sample(trial, experiment.plan.problems, trial.samples)
    summary, remarks, client = end(experiment, sampled=10)
    assert [(trial["trial"], trial["samples"]) for trial in summary["trials"]] == [
        ("greedy", 1),
        ("gaussian sigma=0.4", 4),
    ]
    assert summary["trajectories_sampled_by_this_command"] == 10
    assert summary["questions"] == 2
    assert summary["task_fingerprint"] == experiment.plan.task_fingerprint
    assert set(summary["versions"]) == {"latentswarm", "torch", "transformers", "ray"}
    assert remarks == ""

    output = capsys.readouterr().out
    assert "gaussian sigma=0.4" in output
    assert summary["mlflow"]["link"] in output
    # By default the curves of what chooses, and the run itself.
    assert "majority_vote" in summary["mlflow"]["link"]
    assert summary["mlflow"]["run_link"] in output
    assert str(tmp_path / "runs" / "mine" / "curves.png") in output
    assert {row.trial for row in read_curves_csv(experiment.out / "curves.csv")} == {"greedy", "gaussian sigma=0.4"}

    [run] = client.search_runs([summary["mlflow"]["experiment_id"]])
    # Runs of one sampler setting are told apart by what --out says.
    assert run.info.run_name == "mine: gaussian sigma=0.4"
    assert summary["mlflow"]["run_link"].endswith(f"/runs/{run.info.run_id}?workflowType=machine_learning")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["coverage"] == 0.5
    counts = {key: value for key, value in run.data.metrics.items() if key.startswith("counts.")}
    assert counts == {"counts.errors": 0, "counts.unparsable": 0, "counts.cut": 0}
    assert run.data.params["sampler.sigma"] == "0.4"
    assert run.data.params["latent_steps"] == "6"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "questions.json",
        *(file.name for file in experiment.out.iterdir() if not file.name.startswith(("tracking.", "."))),
    }
    assert run.data.tags["task"] == "questions"
    assert run.data.tags["sampler"] == "gaussian"
    assert run.data.tags["checkpoint_fingerprint"] == experiment.plan.checkpoint.fingerprint
    note = run.data.tags["mlflow.note.content"].replace("\N{EM SPACE}", "")
    assert "| greedy | greedy | 1 | 50.0 [" in note


def test_the_same_command_again_goes_on_with_its_runs(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On more actors and elsewhere it is still the same; with other budgets it is another experiment."""
    counts = []
    for changes in ({}, {"actors": 3, "micro_batch": 2}, {"budgets": [1, 2]}):
        space = [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2]}]
        config = parse_config(RunConfig, {**content, **changes, "sweep": {"space": space}})
        experiment = plan_sweep("mine", config, tmp_path / "mine")
        if not changes:
            for trial in experiment.all_trials():
                sample(trial, experiment.plan.problems, trial.samples)
        summary, _, client = end(experiment)
        runs = client.search_runs([summary["mlflow"]["experiment_id"]])
        assert {run.info.status for run in runs} == {"FINISHED"}
        for run in runs:
            for key in run.data.metrics:
                steps = [point.step for point in client.get_metric_history(run.info.run_id, key)]
                assert len(steps) == len(set(steps)), (run.info.run_name, key)
        counts.append(len(runs))
    assert counts == [4, 4, 8]
    capsys.readouterr()


def test_a_sweep_that_was_stopped_early(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One trial complete, one stopped after two samples, one that never began."""
    space = [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2, 0.3]}]
    experiment = plan_sweep("mine", parse_config(RunConfig, {**content, "sweep": {"space": space}}), tmp_path / "mine")
    for trial, samples in zip(experiment.all_trials(), (1, 4, 2, 0), strict=True):
        if samples:
            sample(trial, experiment.plan.problems, samples)
    assert missing(experiment.coverage()) == 2 * 2 + 2 * 4
    summary, _, client = end(experiment, sampled=8)
    assert [(trial["trial"], trial["samples"]) for trial in summary["trials"]] == [
        ("greedy", 1),
        ("gaussian sigma=0.1", 4),
        ("gaussian sigma=0.2", 2),
    ]
    assert summary["trajectories_sampled_by_this_command"] == 8
    runs = {run.info.run_name: run for run in client.search_runs([summary["mlflow"]["experiment_id"]])}
    assert set(runs) == {"mine", "greedy", *(f"gaussian sigma={sigma}" for sigma in (0.1, 0.2, 0.3))}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs["mine"]
    assert all(
        run.data.tags["mlflow.parentRunId"] == parent.info.run_id for name, run in runs.items() if name != "mine"
    )
    assert parent.data.tags["best.coverage"] == "gaussian sigma=0.1"
    assert "sampler.kind" not in parent.data.params
    assert "nan" not in capsys.readouterr().out


def test_failures_are_told_word_by_word(content: dict[str, Any], tmp_path: Path) -> None:
    """Error texts of libraries hold brackets, which must not be taken for the console's own marks."""
    experiment = plan_run("mine", parse_config(RunConfig, content), tmp_path / "mine")
    for trial in experiment.all_trials():
        sample(trial, experiment.plan.problems, trial.samples, error=ERROR)
    summary, remarks, _ = end(experiment)
    assert [trial["errors"] for trial in summary["trials"]] == [1, 4]
    lines = remarks.splitlines()
    assert len(lines) == 2
    assert lines[1] == f"gaussian sigma=0.4: 4 of 8 trajectories failed and count as wrong; the first: {ERROR}"


def test_where_everything_has_failed_the_most_frequent_reason_ends_the_command(
    content: dict[str, Any], tmp_path: Path
) -> None:
    experiment = plan_run("mine", parse_config(RunConfig, content), tmp_path / "mine")
    for trial in experiment.all_trials():
        reason = "OSError: rare" if trial.name == "greedy" else "ValueError: [often]\nsecond line"
        rows = [
            Trajectory.failed(problem, number, reason)
            for problem in experiment.plan.problems
            for number in range(trial.samples)
        ]
        trial.store.prepare()
        shard = Shard(0, len(experiment.plan.problems), 0, trial.samples)
        trial.store.write(shard, trajectory_table(rows, 0, trial.samples))
    with pytest.raises(WorkFailed, match=r"^all 10 trajectories have failed; 8 of them with: ValueError: \[often\]"):
        end(experiment)
    # What there is to say is written all the same, and MLflow knows.
    summary = json.loads((experiment.out / "summary.json").read_text())
    assert [trial["errors"] for trial in summary["trials"]] == [2, 8]
    [run] = MlflowClient(summary["mlflow"]["uri"]).search_runs([summary["mlflow"]["experiment_id"]])
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("cut_answers", ["abstain", "vote"])
def test_what_was_cut_or_cannot_be_read_is_said(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], cut_answers: str
) -> None:
    task = {**content["task"], "cut_answers": cut_answers}
    experiment = plan_run("mine", parse_config(RunConfig, {**content, "task": task}), tmp_path / "runs" / "mine")
    greedy, trial = experiment.sampled_trials()
    problems = experiment.plan.problems
    sample(greedy, problems, 1)
    rows = [
        Trajectory(
            problem.question_id, number, "", answer, True, 6, 3, (), None, 1.0, 2.0, 0.1, None, number > 1, -1.0, 0.1
        )
        for problem in problems
        for number, answer in enumerate((problem.answer, None, problem.answer, None))
    ]
    rows[4] = Trajectory.failed(problems[1], 0, "RuntimeError: no")
    rows = [row._replace(correct=row.answer is not None) for row in rows]
    trial.store.prepare()
    trial.store.write(Shard(0, 2, 0, 4), trajectory_table(rows, 0, 4))
    summary, remarks, client = end(experiment)
    trial = summary["trials"][1]
    assert [trial[key] for key in ("errors", "unparsable", "cut")] == [1, 2, 4]
    lines = remarks.splitlines()
    assert "gaussian sigma=0.4: 2 of 8 answers could not be read; they count as wrong and do not vote" in lines
    becomes = {
        "abstain": "they count as wrong and do not vote",
        "vote": "they are judged, and vote, as far as they got",
    }[cut_answers]
    assert (
        f"gaussian sigma=0.4: 4 of 8 answers were cut off at answer_tokens; {becomes} "
        f"(task.cut_answers: {cut_answers})" in lines
    )
    [run] = client.search_runs([summary["mlflow"]["experiment_id"]])
    assert [run.data.metrics[f"counts.{key}"] for key in ("errors", "unparsable", "cut")] == [1, 2, 4]
    assert run.data.params["task.cut_answers"] == cut_answers
    assert run.data.metrics["coverage"] == (0.5 if cut_answers == "abstain" else 1.0)
