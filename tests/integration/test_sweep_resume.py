"""A sweep whose driver is killed goes on with its trials, its searcher and its MLflow runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from support import Command, WriteConfig, environment, shard_files

from orchestrator.tuning.state import trial_states

pytestmark = pytest.mark.usefixtures("shared_cluster")

TRIALS = 6
SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 16},
    "budgets": [1, 2, 4],
    "answer_tokens": 8,
    "sweep": {
        "search_alg": "optuna",
        "trials": TRIALS,
        "objective": "majority_vote",
        "max_concurrent_trials": 1,
        "space": [
            {"sampler.kind": "mc_dropout", "sampler.p": {"uniform": [0.05, 0.9]}},
            {"sampler.kind": "gaussian", "sampler.sigma": {"loguniform": [0.1, 5.0]}, "sampler.relative": True},
        ],
    },
}
PATIENCE_S = 240


def trial_ids(out: Path) -> dict[str, str]:
    """Tune's id of every trial, by the name of its setting."""
    newest = sorted((out / "tune").glob("experiment_state-*.json"))[-1]
    trials = [json.loads(state) for state, *_ in json.loads(newest.read_text())["trial_data"]]
    return {trial["config"]["setting"]: trial["trial_id"] for trial in trials}


def test_a_search_goes_on_after_its_driver_was_killed(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    arguments = ["sweep", str(config_file(SETTINGS)), "--out", "results"]
    out = tmp_path / "results"
    # Tune writes its state down every ten seconds; this sweep would be over by then.
    often = environment() | {"TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    with (tmp_path / "killed.log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=tmp_path,
            env=often,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + PATIENCE_S
    while list(trial_states(out / "tune").values()).count("terminated") < 2:
        assert driver.poll() is None, (tmp_path / "killed.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    ended = [name for name, state in trial_states(out / "tune").items() if state == "terminated"]
    before = trial_ids(out)
    assert 2 <= len(ended) < TRIALS

    result = latentswarm(*arguments, "--dry-run")
    assert "trials that optuna will choose" in result.stderr
    result = latentswarm("sweep", arguments[1], "--resume", "results")
    assert result.returncode == 0, result.stderr
    after = trial_ids(out)
    assert len(after) == TRIALS
    # What had ended was not run again: Tune would have given it another id.
    assert {name: after[name] for name in ended} == {name: before[name] for name in ended}
    summary = json.loads((out / "summary.json").read_text())
    assert {trial["trial"] for trial in summary["trials"]} == {"greedy", *after}
    client = MlflowClient(summary["mlflow"]["uri"])
    runs = client.search_runs([summary["mlflow"]["experiment_id"]])
    assert Counter(run.info.run_name for run in runs) == Counter(["results", "greedy", *after])
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        for metric in run.data.metrics:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, metric)]
            assert len(set(steps)) == len(steps), (run.info.run_name, metric)

    curves = (out / "curves.csv").read_bytes()
    again = latentswarm(*arguments)
    assert again.returncode == 0, again.stderr
    assert "everything is in the store" in again.stderr

    # A trial that has ended is run again where what it sampled is not there any more.
    victim = next(file for file in shard_files(tmp_path / "runs" / "store") if "s00000-00004" in file)
    Path(victim).unlink()
    healed = latentswarm(*arguments)
    assert healed.returncode == 0, healed.stderr
    assert Path(victim).exists()
    assert (out / "curves.csv").read_bytes() == curves

    changed = latentswarm("sweep", arguments[1], "sweep.trials=7", "--resume", "results")
    assert changed.returncode == 2
    assert "it was begun with another sweep.trials" in changed.stderr
