"""The Slurm script: a shell can read it, and a linter finds nothing."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "slurm.sbatch"


def test_bash_can_read_it() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (apt install shellcheck)")
    found = subprocess.run([shellcheck, "--shell=bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_settings_of_slurm_come_before_the_first_command() -> None:
    """Slurm reads no settings after the first line that is no comment."""
    lines = SCRIPT.read_text().splitlines()
    first_command = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    settings = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert settings
    assert settings[-1] < first_command


def test_the_wait_for_nodes_ends_where_no_head_answers() -> None:
    waiting = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON\n", SCRIPT.read_text(), re.DOTALL)
    assert waiting is not None
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-", "2", "1"],
        input=waiting[1],
        cwd=SCRIPT.parents[1],
        env=os.environ | {"RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"only 0 of 2 nodes have joined the Ray cluster in 1 s (cluster.address {address}: ")
    assert time.monotonic() - began < 60
