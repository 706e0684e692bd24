"""A command forks the workers of its local cluster from itself: the same rows, and nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from support import WriteConfig, command_of_parent, environment, processes_below

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")

SETTINGS = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 24},
    "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
    "budgets": [1, 4],
    "micro_batch": 8,
    "store": {"path": "store", "latents": "float32"},
}
FORKS = ["-m", "orchestrator"]
STARTS_FROM_NOTHING = ["-c", "import ray, sys; from orchestrator.cli import main; sys.exit(main())"]
"""Where Ray has been imported already, it is too late to fork."""


def start(file: Path, folder: Path, how: Sequence[str]) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, *how, "run", str(file), "--out", "out"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Jobs in the background of a script are told to ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def parent_of_reasoner(command: subprocess.Popen[str]) -> str:
    """Wait for a reasoner; returns the command line of the process that it is a child of."""
    while command.poll() is None:
        for process in processes_below(command.pid, "ray::ReasonerWorker"):
            return command_of_parent(process)
        time.sleep(0.05)
    raise AssertionError(f"no reasoner was seen: {command.communicate()[1]}")


def rows(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "store").glob("*/*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True).drop(columns="seconds")


def test_forked_workers_sample_the_same_to_the_bit(tmp_path: Path, config_file: WriteConfig) -> None:
    file = config_file(SETTINGS)
    found = {}
    for name, how in (("forked", FORKS), ("from nothing", STARTS_FROM_NOTHING)):
        with start(file, tmp_path / name, how) as command:
            parent = parent_of_reasoner(command)
            said = command.communicate(timeout=300)[1]
        assert command.returncode == 0, said
        # Forked ones are children of a copy of the command, others of the raylet.
        assert ("orchestrator" in parent) is (name == "forked")
        found[name] = rows(tmp_path / name)
    assert len(found["forked"]) == 24 * 5
    pd.testing.assert_frame_equal(found["forked"], found["from nothing"], check_exact=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_nothing_outlives_the_command(
    tmp_path: Path, config_file: WriteConfig, number: signal.Signals, code: int
) -> None:
    file = config_file({**SETTINGS, "budgets": [1, 256], "task": {"name": "word_problems"}})
    with start(file, tmp_path / "run", FORKS) as command:
        assert "orchestrator" in parent_of_reasoner(command)
        # Ray's own agents take a minute to see that their raylet is gone.
        started = set(processes_below(command.pid, "")) - set(processes_below(command.pid, "Agent"))
        command.send_signal(number)
        assert command.wait(60) == code
    deadline = time.monotonic() + 60
    while left := [process for process in started if os.path.exists(f"/proc/{process}")]:
        assert time.monotonic() < deadline, [Path(f"/proc/{process}/cmdline").read_text() for process in left]
        time.sleep(0.1)
