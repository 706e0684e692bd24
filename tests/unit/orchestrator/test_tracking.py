"""Tracking against a real MLflow on a SQLite file."""

import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.config import TrackingConfig
from orchestrator.curves import CurveRow
from orchestrator.tracking import Tracker, best_trials, flatten, tracking_uri

NAN = float("nan")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose neighbour is the database; making its tables takes seconds, so all tests share it."""
    directory: Path = tmp_path_factory.mktemp("tracking") / "runs" / "mine"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture(scope="module")
def uri(out: Path) -> str:
    return f"sqlite:///{out.parent}/mlflow.db"


@pytest.fixture
def tracker(out: Path, uri: str, request: pytest.FixtureRequest) -> Tracker:
    """A tracker with an experiment of the test's own."""
    return Tracker(uri, request.node.name, out)


def run_of(tracker: Tracker, run_id: str | None) -> Run:
    assert run_id is not None
    return MlflowClient(tracker.uri).get_run(run_id)


def history(tracker: Tracker, run_id: str | None, key: str) -> list[tuple[int, float]]:
    assert run_id is not None
    metrics = MlflowClient(tracker.uri).get_metric_history(run_id, key)
    return sorted((metric.step, metric.value) for metric in metrics)


def curve(trial: str, *values: float, aggregation: str = "coverage") -> list[CurveRow]:
    """Values at n = 1, 2, 4, ..."""
    return [
        CurveRow(trial, trial.split()[0], aggregation, 2**step, value, value - 0.1, value + 0.1, 10, 1e9)
        for step, value in enumerate(values)
    ]


def test_a_sweep_is_a_parent_with_children(tracker: Tracker) -> None:
    parent = tracker.start_parent("demo", {"seed": 3, "store": {"path": "x"}})
    child = tracker.start_child("gaussian sigma=0.4", {"sampler": {"kind": "gaussian", "sigma": 0.4}})
    assert tracker.start_child("gaussian sigma=0.4", {}) == child
    run = run_of(tracker, child)
    assert run.info.run_name == "gaussian sigma=0.4"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.params == {"sampler.kind": "gaussian", "sampler.sigma": "0.4"}
    top = run_of(tracker, parent)
    assert top.info.run_name == "demo"
    assert top.data.params == {"seed": "3", "store.path": "x"}
    assert "mlflow.parentRunId" not in top.data.tags


def test_a_single_run_has_no_parent(tracker: Tracker) -> None:
    child = tracker.start_child("gaussian sigma=0.4", {"seed": 1})
    assert "mlflow.parentRunId" not in run_of(tracker, child).data.tags


def test_long_parameters_are_cut(tracker: Tracker) -> None:
    child = tracker.start_child("x", {"key": "y" * 10_000})
    assert set(run_of(tracker, child).data.params["key"]) == {"y"}


def test_the_step_is_the_number_of_samples_and_nan_is_left_out(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    child = tracker.start_child("a", {})
    tracker.log_curves(curve("a", 0.25, 0.5, NAN))
    assert history(tracker, child, "coverage") == [(1, 0.25), (2, 0.5)]
    assert history(tracker, child, "coverage_lo") == [(1, pytest.approx(0.15)), (2, pytest.approx(0.4))]
    assert history(tracker, child, "coverage_hi") == [(1, pytest.approx(0.35)), (2, pytest.approx(0.6))]


def test_live_values_are_apart_from_final_ones(tracker: Tracker) -> None:
    child = tracker.start_child("a", {})
    tracker.log_live("a", 4, {"coverage": 0.5, "majority_vote": NAN})
    assert history(tracker, child, "live/coverage") == [(4, 0.5)]
    assert history(tracker, child, "live/majority_vote") == []
    assert history(tracker, child, "coverage") == []


def test_the_parent_carries_the_best_curve_of_each_aggregation(tracker: Tracker) -> None:
    parent = tracker.start_parent("demo", {})
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
    assert history(tracker, parent, "coverage") == [(1, 0.1), (2, 0.9)]
    assert history(tracker, parent, "majority_vote") == [(1, 0.3), (2, 0.3)]
    assert history(tracker, parent, "random_guess") == [(1, 0.01), (2, 0.02)]
    tags = run_of(tracker, parent).data.tags
    assert (tags["best.coverage"], tags["best.majority_vote"]) == ("a", "b")
    assert history(tracker, tracker.children["b"], "coverage") == [(1, 0.3), (2, 0.4)]


def test_greedy_is_a_level_line_in_every_chart(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    greedy, other = (tracker.start_child(name, {}) for name in ("greedy", "a"))
    tracker.log_curves([*curve("greedy", 0.4, aggregation="greedy"), *curve("a", 0.1, 0.2, 0.3)])
    for aggregation in ("coverage", "majority_vote"):
        assert history(tracker, greedy, aggregation) == [(1, 0.4), (2, 0.4), (4, 0.4)]
    assert history(tracker, greedy, "greedy") == [(1, 0.4)]
    assert history(tracker, other, "coverage") == [(1, 0.1), (2, 0.2), (4, 0.3)]


def test_more_points_than_one_request_takes(tracker: Tracker) -> None:
    child = tracker.start_child("a", {})
    rows = [CurveRow("a", "a", "coverage", n, 0.5, 0.4, 0.6, 1, 1.0) for n in range(1, 501)]
    tracker.log_curves(rows)
    assert len(history(tracker, child, "coverage_hi")) == 500


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_everything_ends_with_a_status(tracker: Tracker, status: str) -> None:
    parent, child = tracker.start_parent("demo", {}), tracker.start_child("a", {})
    tracker.end(status)
    assert {run_of(tracker, run_id).info.status for run_id in (parent, child)} == {status}


def test_a_child_that_failed_stays_failed(tracker: Tracker) -> None:
    parent = tracker.start_parent("demo", {})
    failed, other = tracker.start_child("a", {}), tracker.start_child("b", {})
    tracker.end("FAILED", child="a")
    assert [run_of(tracker, run_id).info.status for run_id in (parent, failed, other)] == [
        "RUNNING",
        "FAILED",
        "RUNNING",
    ]
    tracker.end()
    assert [run_of(tracker, run_id).info.status for run_id in (parent, failed, other)] == [
        "FINISHED",
        "FAILED",
        "FINISHED",
    ]


@pytest.mark.parametrize("sweep", [True, False])
def test_files_and_description_belong_to_the_top_run(tracker: Tracker, tmp_path: Path, sweep: bool) -> None:
    parent = tracker.start_parent("demo", {}) if sweep else None
    child = tracker.start_child("a", {})
    file = tmp_path / "summary.json"
    file.write_text("{}")
    tracker.log_files([file])
    tracker.describe("**words**")
    top = parent or child
    client = MlflowClient(tracker.uri)
    assert [artifact.path for artifact in client.list_artifacts(top)] == ["summary.json"]
    assert run_of(tracker, top).data.tags["mlflow.note.content"] == "**words**"


def test_artifacts_lie_beside_the_database_wherever_the_command_ran(tracker: Tracker, out: Path) -> None:
    tracker.start_child("a", {})
    experiment = MlflowClient(tracker.uri).get_experiment(tracker.experiment_id)
    assert experiment.artifact_location == (out.parent / "mlartifacts").as_uri()
    assert (out.parent / "mlflow.db").is_file()


def test_an_experiment_is_found_again(tracker: Tracker, out: Path, request: pytest.FixtureRequest) -> None:
    assert Tracker(tracker.uri, request.node.name, out).experiment_id == tracker.experiment_id
    assert Tracker(tracker.uri, "another", out).experiment_id != tracker.experiment_id


def test_the_link_opens_all_children_in_one_chart(tracker: Tracker) -> None:
    tracker.start_parent("demo", {})
    children = [tracker.start_child(name, {}) for name in ("a", "b")]
    link = tracker.ui_link()
    assert link.startswith("http://127.0.0.1:5000/#/metric?")
    assert unquote(link).endswith(
        f'runs=["{children[0]}","{children[1]}"]&metric="coverage"&experiments=["{tracker.experiment_id}"]'
        '&plot_metric_keys=["coverage"]&x_axis=step'
    )
    # Terminals end a link at a space or a quote.
    assert not set(link) & set(' "[]<>')
    command = tracker.ui_command()
    assert command is not None
    program, rest = command.split(" ", 1)
    assert shutil.which(program) is not None
    assert rest == f"server --backend-store-uri {tracker.uri} --port 5000"


def test_the_uri_of_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configured, default = TrackingConfig(uri="http://host:1"), TrackingConfig()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(configured, Path("runs/demo")) == "http://host:1"
    assert tracking_uri(default, Path("runs/demo")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:2")
    assert tracking_uri(configured, Path("runs/demo")) == "http://other:2"
    assert tracking_uri(default, Path("runs/demo")) == "http://other:2"


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
