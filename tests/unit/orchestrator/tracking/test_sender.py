"""MLflow may come late, go away, be restarted, or be somewhere else: every record arrives once."""

import atexit
import functools
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import mlflow.cli
import pytest
from mlflow import MlflowClient

from orchestrator.tracking.database import create_database
from orchestrator.tracking.state import STATE_FILE, unsent
from orchestrator.tracking.tracker import Tracker

SECONDS = 180.0
"""Longest wait: on two busy cores a server needs more than a minute to answer."""


_forks = multiprocessing.get_context("forkserver")
# Servers are functions of this module; importing it takes as long as everything else that one does here.
_forks.set_forkserver_preload([__name__])


class Server:
    """A real `mlflow server` on SQLite."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            self.port = reserved.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        database = ("--backend-store-uri", f"sqlite:///{self.folder}/server.db")
        artifacts = ("--artifacts-destination", str(self.folder / "artifacts"))
        self._process = _forks.Process(
            target=_serve, args=(*database, *artifacts, "--port", str(self.port), "--workers", "1")
        )
        self._process.start()

    def kill(self) -> None:
        if self._process is not None:
            assert self._process.pid is not None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._process = None


def _serve(*arguments: str) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Its job runners, a process each, have nothing to do here.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    mlflow.cli.cli(["server", *arguments])


@functools.cache
def whole_database() -> Path:
    """A database to copy: making its tables takes seconds."""
    file = Path(tempfile.mkdtemp()) / "mlflow.db"
    atexit.register(shutil.rmtree, file.parent)
    create_database(f"sqlite:///{file}")
    return file


@pytest.fixture
def database(tmp_path: Path) -> str:
    """An MLflow of the test's own."""
    return f"sqlite:///{shutil.copy(whole_database(), tmp_path / 'mlflow.db')}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    shutil.copy(whole_database(), tmp_path / "server.db")
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


def test_a_record_that_is_refused_is_said_and_set_aside(database: str, tmp_path: Path) -> None:
    """Somebody deleted the run for good meanwhile."""
    out, said = tmp_path / "run", list[str]()
    out.mkdir()
    tracker = Tracker(database, "mine", out, say=said.append)
    for name in ("a", "b"):
        tracker.start_child(name, {})
    assert tracker.flush() == 0
    client = MlflowClient(tracker.uri)
    client.delete_run(str(tracker.run_id("a")))
    tracker.log_live("a", 1, {"coverage": 0.5})
    tracker.log_live("b", 1, {"coverage": 0.5})
    tracker.end()
    # The value and the end of the run that is not there.
    assert tracker.close() == 2
    run = client.get_run(str(tracker.run_id("b")))
    assert (run.data.metrics, run.info.status) == ({"live/coverage": 0.5}, "FINISHED")
    assert len(said) == 1
    assert "refuses a record, which is set aside" in said[0]
    assert "the same command sends them once the cause is gone" in tracker.left()


def test_an_experiment_that_was_deleted_gets_everything_once_it_is_back(database: str, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    out.mkdir()
    tracker = Tracker(database, "mine", out, say=said.append)
    tracker.start_parent("demo", {})
    tracker.start_child("a", {})
    assert tracker.flush() == 0
    client, experiment = MlflowClient(database), str(tracker.experiment_id)
    client.delete_experiment(experiment)
    tracker.log_live("a", 1, {"coverage": 0.5})
    tracker.start_child("b", {"seed": 1})
    tracker.log_live("b", 1, {"coverage": 0.25})
    tracker.describe("old")
    tracker.end()
    began = time.monotonic()
    left = tracker.close()
    assert time.monotonic() - began < SECONDS / 2
    waits = unsent(out)
    assert waits is not None
    assert (waits.waiting, sum(waits.aside.values())) == (0, left)
    assert len(said) == 1
    assert any(
        f"`mlflow experiments restore --experiment-id {experiment}` brings it back" in one for one in waits.aside
    )

    client.restore_experiment(experiment)
    again = Tracker(database, "mine", out)
    again.start_parent("demo", {})
    for child in ("a", "b"):
        again.start_child(child, {})
    again.describe("new")
    again.end()
    assert again.close() == 0
    for child, value in (("a", 0.5), ("b", 0.25)):
        run = client.get_run(str(again.run_id(child)))
        assert (run.data.metrics, run.info.status) == ({"live/coverage": value}, "FINISHED")
    # What had been held back does not undo what is newer.
    assert client.get_run(str(again.run_id())).data.tags["mlflow.note.content"] == "new"


def test_artifacts_that_cannot_be_stored_hold_nothing_else_back(database: str, tmp_path: Path) -> None:
    """Neither an unreachable place of artifacts nor a file that is gone."""
    out, place = tmp_path / "run", tmp_path / "place"
    out.mkdir()
    # No folder can be made below a file.
    place.touch()
    client = MlflowClient(database)
    client.create_experiment("mine", artifact_location=(place / "artifacts").as_uri())
    files = [out / name for name in ("curves.csv", "gone.png")]
    for file in files:
        file.write_text("n,value\n1,0.5\n")

    def track() -> tuple[Tracker, int]:
        tracker = Tracker(database, "mine", out, say=said.append)
        tracker.start_child("a", {})
        tracker.log_files(files)
        tracker.log_table(files[0])
        tracker.log_live("a", 1, {"coverage": 0.5})
        tracker.end()
        return tracker, tracker.close()

    said = list[str]()
    tracker, left = track()
    assert left == 3
    run = client.get_run(str(tracker.run_id()))
    assert (run.data.metrics, run.info.status) == ({"live/coverage": 0.5}, "FINISHED")
    assert [("refuses an artifact, which is set aside" in one) for one in said] == [True] * len(said)

    place.unlink()
    files[1].unlink()
    tracker, left = track()
    waits = unsent(out)
    assert waits is not None
    assert left == 1
    assert any("gone.png" in one for one in waits.aside)
    assert {one.path for one in client.list_artifacts(str(tracker.run_id()))} == {"curves.csv", "curves.json"}

    files[1].touch()
    assert track()[1] == 0
    waits = unsent(out)
    assert waits is not None
    assert (waits.waiting, waits.aside) == (0, {})


def test_nobody_waits_for_minutes_on_a_server_that_is_away(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        tracker = Tracker(f"http://127.0.0.1:{reserved.getsockname()[1]}", "mine", tmp_path)
        tracker.start_child("a", {})
        began = time.monotonic()
        assert (tracker.flush(), tracker.close()) == (1, 1)
        assert time.monotonic() - began < SECONDS / 2


def test_a_server_that_is_killed_three_times_under_eight_trials(server: Server, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    out.mkdir()
    server.start()
    tracker = Tracker(server.uri, "mine", out, say=said.append)
    tracker.start_parent("demo", {})
    names, steps = [f"trial {number}" for number in range(8)], 60
    killed = [threading.Event() for _ in range(4)]

    def trial(number: int) -> None:
        tracker.start_child(names[number], {"seed": number})
        for step in range(1, steps + 1):
            # A part of the steps each before, between and after the deaths.
            assert killed[(step - 1) * 4 // steps].wait(3 * SECONDS)
            tracker.log_live(names[number], step, {"coverage": step / steps, "majority_vote": number / step})
        tracker.end(child=names[number])

    threads = [threading.Thread(target=trial, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    killed[0].set()
    for death in killed[1:]:
        sent = tracker.sent()
        wait_until(lambda sent=sent: tracker.sent() > sent + 20)  # type: ignore[misc]
        server.kill()
        death.set()
        server.start()
    for thread in threads:
        thread.join()
    tracker.end()
    assert tracker.close(3 * SECONDS) == 0

    client = MlflowClient(server.uri)
    runs = client.search_runs([str(tracker.experiment_id)])
    assert sorted(str(run.info.run_name) for run in runs) == sorted(["demo", *names])
    assert {run.info.status for run in runs} == {"FINISHED"}
    for number, name in enumerate(names):
        for metric, value in (("coverage", lambda n: n / steps), ("majority_vote", lambda n, of=number: of / n)):
            points = client.get_metric_history(str(tracker.run_id(name)), f"live/{metric}")
            assert [(point.step, point.value) for point in points] == [(n, value(n)) for n in range(1, steps + 1)]
