"""Processes that a command forks for Ray: workers as a raylet would have started them, and nothing of the command's."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline import forked_workers

WORKER = """
import atexit, json, os, resource, signal, sys
atexit.register(print, "left by itself", flush=True)
json.dump({
    "arguments": sys.argv,
    "variable": os.environ.get("OF_THE_RAYLET"),
    "of train": os.environ.get("RAY_OF_TRAIN"),
    "unset": "OF_THE_COMMAND" in os.environ,
    "folder": os.getcwd(),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "niceness": os.nice(0),
    "leader": os.getsid(0) == os.getpid(),
    "parent": os.getppid(),
    "torch": "torch" in sys.modules,
    "name": __name__,
    "path": sys.path[0],
    "oom": open("/proc/self/oom_score_adj").read().strip(),
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "wakeup": signal.set_wakeup_fd(-1),
}, sys.stdout)
print(flush=True)
if "fails" in sys.argv:
    raise ValueError("said by the worker")
if "leaves" in sys.argv:
    sys.exit("last words")
os.kill(os.getpid(), signal.SIGTERM)
"""

COMMAND = """
import atexit, json, os, resource, signal, subprocess, sys, time
from pathlib import Path
from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline.forked_workers import forked_workers, interpreter
from orchestrator.pipeline.interrupts import interruptible

folder = Path(sys.argv[1])
worker = str(folder / "default_worker.py")
os.environ["OF_THE_COMMAND"] = "there"
atexit.register(print, "end of the command", flush=True)
print("written before", end=" ")
started = []

def start(*arguments):
    def limited():
        resource.setrlimit(resource.RLIMIT_NOFILE, (777, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        os.nice(3)
    variables = {"OF_THE_RAYLET": "1"}
    done = subprocess.run([interpreter(), *arguments], env=variables, cwd=folder, preexec_fn=limited,
                          capture_output=True, text=True, timeout=60)
    started.append(done.stdout + done.stderr)

with interruptible(lambda: "interrupted"), forked_workers(ClusterConfig(), gpus=0) as imported:
    assert interpreter() == sys.executable
    imported()
    assert interpreter() != sys.executable
    imported()
    place = Path(interpreter()).parent
    assert place.stat().st_mode & 0o077 == 0
    for argument in ("signalled", "fails", "leaves"):
        start(worker, argument)
    # As Ray starts a worker with a runtime environment.
    for variables in ({"RAY_OF_TRAIN": "2"}, {"RAY_OF_TRAIN": "2", "OMP_NUM_THREADS": "2"}):
        environment = json.dumps({"command_prefix": [], "env_vars": variables, "py_executable": sys.executable})
        start(str(folder / "setup_worker.py"), worker, "leaves", "--language=PYTHON",
              f"--serialized-runtime-env-context={environment}")
    children = [int(one) for one in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]
    # Those that a raylet starts by themselves end by themselves; here is what is left.
    (server,) = children
    time.sleep(0.2)
    if "killed" in sys.argv:
        os.kill(server, signal.SIGKILL)
        start(worker, "leaves")
    json.dump({"started": started, "server": server, "place": str(place)}, sys.stdout)
    print(flush=True)
assert interpreter() == sys.executable
assert not place.exists()
assert "killed" in sys.argv or not Path("/proc", str(server)).exists()
"""


@pytest.fixture
def output(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the command above, and return what it has printed."""

    def run(*arguments: str) -> dict[str, Any]:
        (tmp_path / "default_worker.py").write_text(WORKER)
        (tmp_path / "setup_worker.py").write_text("print('sets an environment up')")
        command = [sys.executable, "-c", COMMAND, str(tmp_path), *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        before, _, rest = done.stdout.partition("{")
        assert before == "written before "
        told, _, end = rest.partition("\n")
        assert end == "end of the command\n"
        result: dict[str, Any] = json.loads("{" + told)
        return result

    return run


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_a_worker_is_what_a_raylet_would_have_started(output: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    told = output()
    signalled, failed, left, with_environment, other_environment = told["started"]
    for text, argument, of_train in (
        (signalled, "signalled", None),
        (failed, "fails", None),
        (left, "leaves", None),
        (with_environment, "leaves", "2"),
    ):
        assert json.loads(text.partition("\n")[0]) == {
            "arguments": [str(tmp_path / "default_worker.py"), argument],
            "variable": "1",
            "of train": of_train,
            "unset": False,
            "folder": str(tmp_path),
            "files": 777,
            "niceness": min(os.nice(0) + 3, 19),
            "leader": True,
            "parent": told["server"],
            "torch": True,
            "name": "__main__",
            "path": str(tmp_path),
            "oom": "1000",
            "interrupt": True,
            "wakeup": -1,
        }
    # A signal ends it at once, anything else as Python ends: with handlers of its own, and none of the command's.
    assert signalled.count("\n") == 1
    assert left.partition("\n")[2] == "left by itself\nlast words\n"
    assert "ValueError: said by the worker" in failed
    assert "left by itself" in failed
    assert other_environment == "sets an environment up\n"


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_without_the_server_workers_start_from_nothing(output: Callable[..., dict[str, Any]]) -> None:
    *_, last = output("killed")["started"]
    assert json.loads(last.partition("\n")[0])["torch"] is False


def test_workers_are_forked_for_local_clusters_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Other tests have started threads in this process, and imported Ray.
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for nowhere in ("", "local"):
        monkeypatch.setenv("RAY_ADDRESS", nowhere)
        assert forked_workers._is_possible(ClusterConfig(), 0) is (sys.platform == "linux")
        assert not forked_workers._is_possible(ClusterConfig(address="auto"), 0)
        assert not forked_workers._is_possible(ClusterConfig(), 0.5)
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert not forked_workers._is_possible(ClusterConfig(), 0)


def test_workers_of_plugins_and_of_a_process_that_has_ray_are_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    monkeypatch.setitem(sys.modules, "ray", sys)
    assert not forked_workers._is_possible(ClusterConfig(), 0)
    monkeypatch.delitem(sys.modules, "ray")
    assert forked_workers._is_possible(ClusterConfig(), 0) is (sys.platform == "linux")
    monkeypatch.setattr(forked_workers, "loaded_plugins", lambda: ("mine",))
    assert not forked_workers._is_possible(ClusterConfig(), 0)


def test_beside_other_threads_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may hold locks that a fork would never see released."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert not forked_workers._is_possible(ClusterConfig(), 0)
    finally:
        ended.set()
        thread.join()


def test_where_no_program_may_run_workers_start_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder for temporary files may be one, or have a path that is too long for a socket."""
    place = tmp_path / ("long" * 40)
    place.mkdir()
    monkeypatch.setattr(forked_workers, "_is_possible", lambda cluster, gpus: True)
    for folder, said in ((place, "AF_UNIX path too long"), (tmp_path / "nowhere", "No such file or directory")):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with (
            caplog.at_level("INFO", forked_workers.__name__),
            forked_workers.forked_workers(ClusterConfig(), gpus=0) as imported,
        ):
            imported()
            assert forked_workers.interpreter() == sys.executable
        assert said in caplog.text
        assert list(place.iterdir()) == []
