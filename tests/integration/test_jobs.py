"""`ray job submit` on a cluster of its own: log and exit status, stopping a job and starting it again, plugins."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from commands import run_command
from support import Command, WriteConfig, environment, shard_files

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin" / "latentswarm_example"
QUESTIONS, SAMPLES = 8, 16
SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": QUESTIONS},
    "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
    "budgets": [1, 4, SAMPLES],
    "answer_tokens": 8,
}
PATIENCE_S = 240
Ray = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ray_command() -> Iterator[Ray]:
    """`ray ...` for a head that was started with `ray start --head`, with token authentication, and nobody else's."""
    # Sockets lie below the folder, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
    ray = str(Path(sys.executable).with_name("ray"))
    ports = free_ports(4)
    variables = environment() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports[1]}",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    options = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
    start = ["start", "--head", "--block", "--num-cpus=4", f"--temp-dir={folder}", "--disable-usage-stats", *options]
    log = folder / "head.log"
    with log.open("w") as output:
        head = subprocess.Popen(
            [ray, *start], env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(
                [ray, *arguments],
                cwd=ROOT,
                env=variables,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            # The head answers before it can take jobs, and asks for another try.
            if "No available agent to submit job" not in done.stderr or time.monotonic() > deadline:
                return done

    try:
        request = urllib.request.Request(
            f"{variables['RAY_API_SERVER_ADDRESS']}/api/version",
            headers={"Authorization": f"Bearer {variables['RAY_AUTH_TOKEN']}"},
        )
        wait_for(lambda: answers(request) or head.poll() is not None, "the head answers")
        assert head.poll() is None, log.read_text()
        yield run
    finally:
        end(head, folder)
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def answers(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def end(head: subprocess.Popen[bytes], folder: Path) -> None:
    """End the head and what it has started; other clusters on this machine are none of this test's business."""
    head.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        head.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    # Workers are process groups of their own; all of them are told where the session is.
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in (process / "cmdline").read_text() + (process / "environ").read_text():
                os.kill(int(process.name), signal.SIGKILL)


def submission(config: Path, out: Path, *overrides: str) -> list[str]:
    runtime = ["--runtime-env", "runtime_env.yaml", "--working-dir", "."]
    entrypoint = ["python", "-m", "orchestrator", "run", str(config), "--out", str(out), *overrides]
    return [*runtime, "--", *entrypoint]


def test_a_wrong_configuration_is_one_clear_line_in_the_log(
    ray_command: Ray, config_file: WriteConfig, tmp_path: Path
) -> None:
    job = submission(config_file(SETTINGS), tmp_path / "results", "actor.per_nod=1")
    result = ray_command("job", "submit", *job)
    assert result.returncode != 0
    assert "latentswarm: unknown key 'actor.per_nod': did you mean 'per_node'?" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "results").exists()


def test_a_job_that_was_stopped_goes_on_with_the_same_command(
    ray_command: Ray, latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    file = config_file(SETTINGS)
    # One row per shard: slow enough to be stopped in the middle, and cut unlike the run that it is compared with.
    store = tmp_path / "store"
    overrides = [f"store.path={store}", "store.samples_per_shard=1", "micro_batch=1"]
    job = submission(file, tmp_path / "results" / "job", *overrides)
    submitted = ray_command("job", "submit", "--no-wait", "--submission-id", "stopped", *job)
    assert submitted.returncode == 0, submitted.stderr
    wait_for(lambda: bool(shard_files(store)), "sampling is under way")
    stopped = ray_command("job", "stop", "stopped")
    assert stopped.returncode == 0, stopped.stderr
    left = shard_files(store)
    everything = QUESTIONS * (1 + SAMPLES)
    assert 0 < len(left) < everything
    assert "STOPPED" in ray_command("job", "status", "stopped").stdout.upper()

    again = ray_command("job", "submit", *job)
    assert again.returncode == 0, again.stdout
    assert "trajectories" in again.stdout
    now = shard_files(store)
    assert len(now) == everything
    assert {name: now[name] for name in left} == left

    undisturbed = latentswarm("run", str(file), "--out", "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    curves = [tmp_path / name / "curves.csv" for name in ("results/job", "undisturbed")]
    assert curves[0].read_bytes() == curves[1].read_bytes()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder outside of this repository with a package of kinds of its own, questions and a configuration."""
    folder = tmp_path / "project"
    shutil.copytree(PLUGIN, folder / "own_kinds", ignore=shutil.ignore_patterns("__pycache__"))
    question = "Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?"
    rows = [{"id": f"q{q}", "question": question, "answer": f"{35 + q}.2"} for q in range(3)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "checkpoint": "bundled:coconut-tiny",
        "task": {"path": "questions.jsonl", "grader": "rounded"},
        "sampler": {"kind": "uniform", "width": 0.5},
        "budgets": [1, 2],
        "answer_tokens": 8,
        "store": {"path": str(tmp_path / "store"), "latents": "float32"},
        "sweep": {"space": [{"sampler.width": [0.5]}]},
        "plugins": [f"own_kinds.{kind}" for kind in ("sampler", "grader", "aggregation")],
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_a_package_of_ones_own_travels_with_a_job(ray_command: Ray, project: Path, tmp_path: Path) -> None:
    def submit(command: str, *options: str) -> None:
        job = ["--working-dir", str(project), "--", "python", "-m", "orchestrator", command, "mine.yaml", *options]
        done = ray_command("job", "submit", *job)
        assert done.returncode == 0, done.stdout + done.stderr

    submit("run", "sweep.space=[]", "--out", str(tmp_path / "out"))
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    sampled = curves[curves["sampler"] == "uniform"].set_index(["aggregation", "n"])["value"]
    assert sampled["all_right", 1] == pytest.approx(sampled["coverage", 1])
    reported = run_command(project, "report", str(tmp_path / "out"))
    assert reported.returncode == 0, reported.stderr
    assert "all right" in reported.stdout

    first = noisy_latents(tmp_path / "store")
    source = project / "own_kinds" / "sampler.py"
    source.write_text(source.read_text().replace("2.0 * drawn - 1.0", "1.0 - 2.0 * drawn"))
    submit("sweep", "--out", str(tmp_path / "swept"))
    both = noisy_latents(tmp_path / "store")
    [new] = both.keys() - first.keys()
    assert {folder: both[folder] for folder in first} == first
    assert both[new] not in first.values()
    assert "all_right" in set(pd.read_csv(tmp_path / "swept" / "curves.csv")["aggregation"])


def noisy_latents(store: Path) -> dict[str, bytes]:
    """The latents of every folder with two samples of a question, by folder."""
    found = {}
    for folder in {Path(file).parent for file in shard_files(store)}:
        rows = pd.concat([pd.read_parquet(file) for file in sorted(folder.glob("q*.parquet"))])
        if "latents" in rows and rows["sample_index"].max() == 1:
            found[folder.name] = b"".join(latents.tobytes() for latents in rows["latents"])
    return found


def test_the_runtime_environment_leaves_tracking_to_its_user() -> None:
    """An example that is not commented out would send everybody's records to a server that does not exist."""
    content = yaml.safe_load((ROOT / "runtime_env.yaml").read_text())
    assert set(content) == {"env_vars", "excludes"}
    assert content["env_vars"] == {"OMP_WAIT_POLICY": "PASSIVE"}
    assert "MLFLOW_TRACKING_URI" in (ROOT / "runtime_env.yaml").read_text()
