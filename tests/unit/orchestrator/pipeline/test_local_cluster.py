"""A local cluster that cannot be started: one line that names what to change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONNECT = """
import sys
from orchestrator import cli
from orchestrator.config.environment import ClusterConfig
from orchestrator.console import make_console

def connects(**options):
    from orchestrator.pipeline.cluster import connect
    connect(ClusterConfig(), 1, make_console())

cli.latentswarm.commands["run"].callback = connects
sys.exit(cli.main(["run", "config.yaml"]))
"""


@pytest.mark.parametrize(
    ("variable", "value", "cure"),
    [
        ("TMPDIR", "{folder}/" + 100 * "x", "name a shorter TMPDIR: paths of sockets have at most 107 characters"),
        ("HOME", "/dev/null", "name a TMPDIR and a HOME that can be written; HOME holds the token of local clusters"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(variable: str, value: str, cure: str, tmp_path: Path) -> None:
    place = value.format(folder=tmp_path)
    if variable == "TMPDIR":
        Path(place).mkdir()
    own = {key: text for key, text in os.environ.items() if not key.startswith("RAY_A")}
    done = subprocess.run(
        [sys.executable, "-c", CONNECT],
        cwd=Path(__file__).parents[4],
        env=own | {variable: place},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("latentswarm: a local Ray cluster cannot be started in ")
    assert line.endswith(cure)
