"""MLflow may come late, go away, be restarted, or be somewhere else: every record arrives once."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking import Tracker
from orchestrator.tracking.writer import STATE_FILE

SECONDS = 60.0


class Server:
    """A real `mlflow server` on SQLite."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            self.port = reserved.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        database = f"sqlite:///{self.folder}/server.db"
        command = [
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            database,
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        artifacts = ["--artifacts-destination", str(self.folder / "artifacts")]
        self._process = subprocess.Popen(
            [sys.executable, *command, *artifacts],
            # Its job runners, a process each, have nothing to do here.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_server_that_goes_away_and_comes_back(server: Server, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    out.mkdir()
    tracker = Tracker(server.uri, "mine", out, say=said.append)
    # Nobody is there yet: nothing fails, and nothing waits.
    tracker.start_parent("demo", {"seed": 1})
    tracker.start_child("a", {})
    tracker.log_live("a", 1, {"coverage": 0.25})
    wait_until(lambda: bool(said))
    assert tracker.ui_link() is None
    server.start()
    assert tracker.flush(SECONDS) == 0
    link = tracker.ui_link()
    assert link is not None
    assert link.startswith(server.uri)

    server.kill()
    tracker.log_live("a", 2, {"coverage": 0.5})
    wait_until(lambda: len(said) > 2)
    # The driver dies with records that nobody has seen.
    assert tracker.close(0.0) == 1
    server.start()
    again = Tracker(server.uri, "mine", out)
    again.start_parent("demo", {"seed": 1})
    again.start_child("a", {})
    for n, value in ((1, 0.25), (2, 0.5), (4, 0.75)):
        again.log_live("a", n, {"coverage": value})
    again.end()
    assert again.close(SECONDS) == 0

    client, run_id = MlflowClient(server.uri), again.run_id("a")
    points = client.get_metric_history(str(run_id), "live/coverage")
    assert [(point.step, point.value) for point in points] == [(1, 0.25), (2, 0.5), (4, 0.75)]
    runs = client.search_runs([str(again.experiment_id)])
    assert {run.info.run_name for run in runs} == {"demo", "a"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert "cannot be written to" in said[0]
    assert "answers again" in said[1]


@pytest.mark.parametrize("forgotten", ["everything", "the last step"])
def test_what_was_sent_and_not_noted_is_not_there_twice(tmp_path: Path, forgotten: str) -> None:
    """The driver was killed between telling MLflow and noting that it had."""
    out, uri = tmp_path / "run", f"sqlite:///{tmp_path}/mlflow.db"
    out.mkdir()

    def track() -> Tracker:
        tracker = Tracker(uri, "mine", out)
        tracker.start_parent("demo", {})
        tracker.start_child("it's a", {})
        tracker.log_live("it's a", 4, {"coverage": 0.5})
        assert tracker.close() == 0
        return tracker

    first = track()
    state = out / STATE_FILE
    if forgotten == "everything":
        state.unlink()
    else:
        state.write_text(state.read_text().replace('"applied": 3', '"applied": 2'))
    second = track()
    assert second.run_id("it's a") == first.run_id("it's a")
    client = MlflowClient(uri)
    assert len(client.search_runs([str(second.experiment_id)])) == 2
    assert len(client.get_metric_history(str(second.run_id("it's a")), "live/coverage")) == 1


def test_another_place_gets_everything(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in ("one", "other"):
        uri = f"sqlite:///{tmp_path}/{name}.db"
        tracker = Tracker(uri, "mine", out)
        tracker.start_child("a", {"seed": 1})
        tracker.log_live("a", 4, {"coverage": 0.5})
        assert tracker.close() == 0
        assert MlflowClient(uri).get_run(str(tracker.run_id("a"))).data.metrics == {"live/coverage": 0.5}


def test_a_record_that_is_refused_is_said_and_left_out(tmp_path: Path) -> None:
    """Somebody deleted the run for good meanwhile."""
    out, said = tmp_path / "run", list[str]()
    out.mkdir()
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "mine", out, say=said.append)
    for name in ("a", "b"):
        tracker.start_child(name, {})
    assert tracker.flush() == 0
    client = MlflowClient(tracker.uri)
    client.delete_run(str(tracker.run_id("a")))
    tracker.log_live("a", 1, {"coverage": 0.5})
    tracker.log_live("b", 1, {"coverage": 0.5})
    assert tracker.close() == 0
    assert client.get_run(str(tracker.run_id("b"))).data.metrics == {"live/coverage": 0.5}
    assert len(said) == 1
    assert "refuses a record, which is left out" in said[0]
