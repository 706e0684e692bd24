"""Output that nobody reads: real pipes that are closed, and a device that is full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys
from pathlib import Path
from rich.console import Console
from orchestrator import cli
from orchestrator.console import make_console, say

def report(**options):
    for number in range(5000):
        say(Console(), f"line {number} of a table")
        say(make_console(), f"remark {number}")
    Path(sys.argv[1]).write_text("whole")

cli.latentswarm.commands["report"].callback = report
sys.exit(cli.main(["report", "run"]))
"""


def result(out: Path, **streams: int) -> tuple[int, str]:
    process = subprocess.run([sys.executable, "-c", COMMAND, str(out)], check=False, text=True, **streams)  # type: ignore[call-overload]
    assert out.read_text() == "whole"
    return process.returncode, process.stderr or ""


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_pager_that_is_closed_ends_nothing(tmp_path: Path, closed: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if closed == "stdout" else "stdout"
    code, errors = result(tmp_path / "results", **{closed: writing, other: subprocess.PIPE})
    os.close(writing)
    assert code == 141
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_log_on_a_full_disk_ends_nothing_and_is_said(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        code, errors = result(tmp_path / "results", stdout=full.fileno(), stderr=subprocess.PIPE)
    assert code == 1
    assert errors.endswith("latentswarm: the output could not be written: No space left on device\n")


def test_whoever_reads_gets_everything(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, str(tmp_path / "results")], check=False, capture_output=True, text=True
    )
    assert process.returncode == 0
    assert process.stdout.splitlines() == [f"line {number} of a table" for number in range(5000)]
    assert process.stderr.splitlines() == [f"remark {number}" for number in range(5000)]
