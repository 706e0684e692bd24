"""What is tracked, against a real MLflow on a SQLite file."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.curves import CurveRow, best_trials
from orchestrator.analysis.dynamics_rows import DynamicsRow
from orchestrator.tracking.tracker import Tracker, flatten

NAN = float("nan")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of run directories beside a database; making its tables takes seconds, so all tests share it."""
    directory: Path = tmp_path_factory.mktemp("tracking") / "runs"
    directory.mkdir()
    return directory


@pytest.fixture
def out(runs: Path, request: pytest.FixtureRequest) -> Path:
    """A run directory of the test's own."""
    directory = runs / re.sub(r"\W", "-", request.node.name)
    directory.mkdir()
    return directory


@pytest.fixture
def uri(runs: Path) -> str:
    return f"sqlite:///{runs}/mlflow.db"


@pytest.fixture
def tracker(out: Path, uri: str, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    """A tracker with an experiment of the test's own."""
    opened = Tracker(uri, request.node.name, out)
    yield opened
    assert opened.close() == 0


def id_of(tracker: Tracker, run: str | None = None) -> str:
    """MLflow's id of a run, once everything has been sent."""
    assert tracker.flush() == 0
    run_id = tracker.run_id(run)
    assert run_id is not None
    return run_id


def run_of(tracker: Tracker, run: str | None = None) -> Run:
    return MlflowClient(tracker.uri).get_run(id_of(tracker, run))


def history(tracker: Tracker, run: str | None, key: str) -> list[tuple[int, float]]:
    metrics = MlflowClient(tracker.uri).get_metric_history(id_of(tracker, run), key)
    return sorted((metric.step, metric.value) for metric in metrics)


def curve(trial: str, *values: float, aggregation: str = "coverage") -> list[CurveRow]:
    """Values at n = 1, 2, 4, ..."""
    return [
        CurveRow(trial, trial.split()[0], aggregation, 2**step, value, value - 0.1, value + 0.1, 10, 1e9)
        for step, value in enumerate(values)
    ]


def test_a_sweep_is_a_parent_with_children(tracker: Tracker) -> None:
    tracker.start_parent("demo", {"seed": 3, "store": {"path": "x"}}, {"task": "words"})
    tracker.start_child("gaussian sigma=0.4", {"sampler": {"kind": "gaussian", "sigma": 0.4}})
    tracker.start_child("gaussian sigma=0.4", {})
    run = run_of(tracker, "gaussian sigma=0.4")
    assert run.info.run_name == "gaussian sigma=0.4"
    assert run.data.tags["mlflow.parentRunId"] == id_of(tracker)
    assert run.data.params == {"sampler.kind": "gaussian", "sampler.sigma": "0.4"}
    top = run_of(tracker)
    assert top.data.tags["task"] == "words"
    assert top.info.run_name == "demo"
    assert top.data.params == {"seed": "3", "store.path": "x"}
    assert "mlflow.parentRunId" not in top.data.tags


def test_a_single_run_has_no_parent(tracker: Tracker) -> None:
    tracker.start_child("gaussian sigma=0.4", {"seed": 1})
    assert "mlflow.parentRunId" not in run_of(tracker).data.tags


def test_long_parameters_are_cut(tracker: Tracker) -> None:
    tracker.start_child("x", {"key": "y" * 10_000})
    assert set(run_of(tracker).data.params["key"]) == {"y"}


def test_the_step_is_the_number_of_samples_and_nan_is_left_out(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    tracker.start_child("a", {})
    tracker.log_curves(curve("a", 0.25, 0.5, NAN))
    assert history(tracker, "a", "coverage") == [(1, 0.25), (2, 0.5)]
    assert history(tracker, "a", "coverage_lo") == [(1, pytest.approx(0.15)), (2, pytest.approx(0.4))]
    assert history(tracker, "a", "coverage_hi") == [(1, pytest.approx(0.35)), (2, pytest.approx(0.6))]


def test_live_values_are_apart_from_final_ones(tracker: Tracker) -> None:
    tracker.start_child("a", {})
    tracker.log_live("a", 4, {"coverage": 0.5, "majority_vote": NAN})
    assert history(tracker, "a", "live/coverage") == [(4, 0.5)]
    assert history(tracker, "a", "live/majority_vote") == []
    assert history(tracker, "a", "coverage") == []


def test_dynamics_have_latent_steps(tracker: Tracker) -> None:
    tracker.start_child("gaussian sigma=0.4", {})
    rows = [
        DynamicsRow("gaussian sigma=0.4", "gaussian", "cosine_distance", step, 0.1 * step, 0.0, NAN, 5, 4)
        for step in (1, 2, 3)
    ]
    tracker.log_dynamics("gaussian sigma=0.4", rows)
    # What has no run of its own, such as greedy decoding in a single run, is left out.
    tracker.log_dynamics("another", rows)
    client, run_id = MlflowClient(tracker.uri), id_of(tracker, "gaussian sigma=0.4")
    points = client.get_metric_history(run_id, "dynamics/cosine_distance")
    assert [(point.step, point.value) for point in points] == [(1, 0.1), (2, 0.2), (3, pytest.approx(0.3))]
    assert len(client.get_metric_history(run_id, "dynamics/cosine_distance_lo")) == 3
    assert client.get_metric_history(run_id, "dynamics/cosine_distance_hi") == []


def test_settings_of_a_rule_that_come_to_the_same_step_are_one_point(tracker: Tracker) -> None:
    tracker.start_child("a", {})

    def row(samples: float, value: float) -> AdaptiveRow:
        means = (samples, samples, samples)
        return AdaptiveRow(
            "a", "posterior confidence=0.9", "majority_vote", 64, *means, 2.0, value, *[0.0] * 6, 9, 1.0, 2.0
        )

    tracker.log_adaptive([row(7.6, 0.1), row(8.1, 0.2), row(8.4, 0.3), row(12.0, 0.4)])
    assert history(tracker, "a", "adaptive/posterior.majority_vote") == [(8, 0.2), (12, 0.4)]
    assert history(tracker, "a", "adaptive/posterior.majority_vote_minus_fixed") == [(8, 0.0), (12, 0.0)]


def test_the_parent_carries_the_best_curve_of_each_aggregation(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    for name in ("greedy", "a", "b"):
        tracker.start_child(name, {})
    rows = [
        *curve("greedy", 0.99, aggregation="greedy"),
        *curve("a", 0.1, 0.9),
        *curve("b", 0.3, 0.4),
        *curve("a", 0.1, 0.2, aggregation="majority_vote"),
        *curve("b", 0.3, 0.3, aggregation="majority_vote"),
        *curve("random_guess", 0.01, 0.02, aggregation="random_guess"),
    ]
    tracker.log_curves(rows)
    assert history(tracker, None, "coverage") == [(1, 0.1), (2, 0.9)]
    assert history(tracker, None, "majority_vote") == [(1, 0.3), (2, 0.3)]
    assert history(tracker, None, "random_guess") == [(1, 0.01), (2, 0.02)]
    tags = run_of(tracker).data.tags
    assert (tags["best.coverage"], tags["best.majority_vote"]) == ("a", "b")
    assert history(tracker, "b", "coverage") == [(1, 0.3), (2, 0.4)]


def test_greedy_is_a_level_line_in_every_chart(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    for name in ("greedy", "a"):
        tracker.start_child(name, {})
    tracker.log_curves([*curve("greedy", 0.4, aggregation="greedy"), *curve("a", 0.1, 0.2, 0.3)])
    for aggregation in ("coverage", "majority_vote"):
        assert history(tracker, "greedy", aggregation) == [(1, 0.4), (2, 0.4), (4, 0.4)]
    assert history(tracker, "greedy", "greedy") == [(1, 0.4)]
    assert history(tracker, "a", "coverage") == [(1, 0.1), (2, 0.2), (4, 0.3)]


def test_more_points_than_one_request_takes(tracker: Tracker) -> None:
    tracker.start_child("a", {})
    rows = [CurveRow("a", "a", "coverage", n, 0.5, 0.4, 0.6, 1, 1.0) for n in range(1, 501)]
    tracker.log_curves(rows)
    assert len(history(tracker, "a", "coverage_hi")) == 500


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_everything_ends_with_a_status(tracker: Tracker, status: str) -> None:
    tracker.start_parent("demo", {})
    tracker.start_child("a", {})
    tracker.end(status)
    assert {run_of(tracker, run).info.status for run in (None, "a")} == {status}


def test_a_child_that_failed_stays_failed(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    for name in ("a", "b"):
        tracker.start_child(name, {})
    tracker.end("FAILED", child="a")
    assert [run_of(tracker, run).info.status for run in (None, "a", "b")] == [
        "RUNNING",
        "FAILED",
        "RUNNING",
    ]
    tracker.end()
    assert [run_of(tracker, run).info.status for run in (None, "a", "b")] == [
        "FINISHED",
        "FAILED",
        "FINISHED",
    ]


@pytest.mark.parametrize("sweep", [True, False])
def test_files_and_description_belong_to_the_top_run(tracker: Tracker, tmp_path: Path, sweep: bool) -> None:
    if sweep:
        tracker.start_parent("demo", {})
    tracker.start_child("a", {})
    file = tmp_path / "summary.json"
    file.write_text("{}")
    tracker.log_files([file])
    tracker.describe("**words**")
    client = MlflowClient(tracker.uri)
    assert [artifact.path for artifact in client.list_artifacts(id_of(tracker))] == ["summary.json"]
    assert run_of(tracker).data.tags["mlflow.note.content"] == "**words**"


def test_artifacts_lie_beside_the_database_wherever_the_command_ran(tracker: Tracker, out: Path) -> None:
    tracker.start_child("a", {})
    assert tracker.flush() == 0
    experiment = MlflowClient(tracker.uri).get_experiment(tracker.experiment_id)
    assert experiment.artifact_location == (out.parent / "mlartifacts").as_uri()
    assert (out.parent / "mlflow.db").is_file()


def test_an_experiment_is_found_again(tracker: Tracker, uri: str, runs: Path, request: pytest.FixtureRequest) -> None:
    tracker.start_child("a", {})
    mine = id_of(tracker) and tracker.experiment_id
    for name, same in ((request.node.name, True), ("another", False)):
        folder = runs / f"again-{same}"
        folder.mkdir()
        other = Tracker(uri, name, folder)
        other.start_child("b", {})
        assert other.close() == 0
        assert (other.experiment_id == mine) is same


def test_a_table_is_one_that_the_ui_shows(tracker: Tracker, out: Path) -> None:
    tracker.start_child("a", {})
    file = out / "questions.csv"
    file.write_text("question,correct\nx,1\ny,0\n")
    for _ in range(2):
        tracker.log_table(file)
    table = json.loads(Path(MlflowClient(tracker.uri).download_artifacts(id_of(tracker), "questions.json")).read_text())
    assert table == {"columns": ["question", "correct"], "data": [["x", 1], ["y", 0]]}
    assert "questions.json" in run_of(tracker).data.tags["mlflow.loggedArtifacts"]


def test_the_link_opens_all_children_in_one_chart(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    for name in ("a", "b"):
        tracker.start_child(name, {})
    children = [id_of(tracker, name) for name in ("a", "b")]
    link = tracker.ui_link()
    assert link is not None
    assert link.startswith("http://127.0.0.1:5000/#/metric?")
    assert unquote(link).endswith(
        f'runs=["{children[0]}","{children[1]}"]&metric="coverage"&experiments=["{tracker.experiment_id}"]'
        '&plot_metric_keys=["coverage"]&x_axis=step&workflowType=machine_learning'
    )
    assert "best_of_n" in str(tracker.ui_link("best_of_n"))
    top = tracker.run_link()
    assert top is not None
    assert top.startswith(f"http://127.0.0.1:5000/#/experiments/{tracker.experiment_id}/runs/{id_of(tracker, None)}")
    # Terminals end a link at a space or a quote.
    assert not set(link) & set(' "[]<>')
    command = tracker.ui_command()
    assert command is not None
    program, rest = command.split(" ", 1)
    assert shutil.which(program) is not None
    assert rest == f"server --backend-store-uri {tracker.uri} --port 5000 --workers 1"


def test_the_best_trial_has_the_highest_value_at_the_largest_budget() -> None:
    rows = [
        # Stopped early at a high value: it never got to the largest budget.
        *curve("stopped", 0.5, 0.95, NAN),
        *curve("a", 0.4, 0.5, 0.6),
        *curve("b", 0.1, 0.2, 0.7),
        *curve("random_guess", 0.9, 0.9, 0.9),
        *curve("greedy", 0.99),
    ]
    assert best_trials(rows) == {"coverage": "b"}
    assert best_trials(rows[::-1]) == {"coverage": "b"}
    assert best_trials([]) == {}


def test_nested_settings_become_dotted_keys() -> None:
    assert flatten({"a": 1, "b": {"c": {"d": None}, "e": [1, 2]}}) == {"a": 1, "b.c.d": None, "b.e": [1, 2]}
