"""Which workers with a runtime environment can be forked: those that differ in variables of Ray alone."""

import json
import os
import sys
from typing import Any

import pytest

from orchestrator.pipeline import worker_launcher

SETUP, WORKER = "/ray/workers/setup_worker.py", "/ray/workers/default_worker.py"
OURS = {"env_vars": {"RAY_A": "1"}, "py_executable": sys.executable, "command_prefix": [], "java_jars": []}


def arguments(environment: dict[str, Any], language: str = "PYTHON", worker: str = WORKER) -> list[str]:
    said = f"--serialized-runtime-env-context={json.dumps(environment)}"
    return [SETUP, worker, "--node-ip-address=127.0.0.1", f"--language={language}", said]


def test_variables_of_ray_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_A", "0")
    assert worker_launcher.without_environment(arguments(OURS)) == [WORKER, "--node-ip-address=127.0.0.1"]
    assert os.environ["RAY_A"] == "1"


@pytest.mark.parametrize(
    "asked",
    [
        arguments(OURS | {"env_vars": {"RAY_A": "1", "OMP_NUM_THREADS": "4"}}),
        arguments(OURS | {"env_vars": {"RAY_A": "${HOME}"}}),
        arguments(OURS | {"py_executable": "/another/python"}),
        arguments(OURS | {"command_prefix": ["cd /tmp &&"]}),
        arguments(OURS | {"something_new": "of a later Ray"}),
        arguments(OURS, language="JAVA"),
        arguments(OURS, worker="another_worker.py"),
        [SETUP, WORKER],
        [SETUP],
        ["/ray/dashboard/agent.py"],
    ],
)
def test_all_else_is_left_to_ray(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_A", "0")
    assert worker_launcher.without_environment(asked) is None
    assert os.environ["RAY_A"] == "0"
