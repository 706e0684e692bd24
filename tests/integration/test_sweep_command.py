"""`latentswarm sweep`: Tune trials on shared actors, and what MLflow shows of them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from support import Command, WriteConfig

SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 24},
    "budgets": [1, 2, 4, 8],
    "answer_tokens": 8,
    "actors": 2,
    "sweep": {
        "space": [
            {"sampler.kind": "mc_dropout", "sampler.p": [0.1, 0.9]},
            {"sampler.kind": "gaussian", "sampler.sigma": 0.5, "sampler.relative": True},
        ]
    },
}
TRIALS = ["mc_dropout p=0.1", "mc_dropout p=0.9", "gaussian sigma=0.5 relative"]


def test_a_sweep_is_a_parent_run_with_a_child_per_setting(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    result = latentswarm("sweep", str(config_file(SETTINGS)), "--out", "results")
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert [trial["trial"] for trial in summary["trials"]] == ["greedy", *TRIALS]
    curves = pd.read_csv(tmp_path / "results" / "curves.csv", keep_default_na=False)

    client = MlflowClient(summary["mlflow"]["uri"])
    runs = {run.info.run_name: run for run in client.search_runs([summary["mlflow"]["experiment_id"]])}
    assert set(runs) == {"results", "greedy", *TRIALS}
    parent = runs.pop("results")
    best = curves[(curves["aggregation"] == "coverage") & (curves["n"] == 8)].sort_values("value").iloc[-1]
    assert parent.data.tags["best.coverage"] in curves[curves["value"] == best["value"]]["trial"].tolist()
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *runs.values()]} == {"FINISHED"}
    for name in TRIALS:
        final = {m.step: m.value for m in client.get_metric_history(runs[name].info.run_id, "majority_vote")}
        rows = curves[(curves["trial"] == name) & (curves["aggregation"] == "majority_vote")]
        assert final == dict(zip(rows["n"], rows["value"], strict=True))
        live = client.get_metric_history(runs[name].info.run_id, "live/coverage")
        assert [metric.step for metric in live] == [1, 2, 4, 8]
        assert runs[name].info.run_id in summary["mlflow"]["link"]


def test_a_scheduler_stops_a_hopeless_setting_before_the_largest_budget(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    asha = {**SETTINGS["sweep"], "scheduler": "asha", "grace_samples": 1, "max_concurrent_trials": 1}
    result = latentswarm("sweep", str(config_file({**SETTINGS, "sweep": asha})), "--out", "results")
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    samples = {trial["trial"]: trial["samples"] for trial in summary["trials"]}
    assert samples["mc_dropout p=0.1"] == 8
    assert samples["mc_dropout p=0.9"] < 8
    curves = pd.read_csv(tmp_path / "results" / "curves.csv")
    stopped = curves[(curves["trial"] == "mc_dropout p=0.9") & (curves["n"] > samples["mc_dropout p=0.9"])]
    assert len(stopped) > 0
    assert stopped["value"].isna().all()
