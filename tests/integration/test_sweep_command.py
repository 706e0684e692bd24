"""`latentswarm sweep`: Tune trials on shared actors, what MLflow shows of them, and what early stopping costs."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from support import Command, WriteConfig

pytestmark = pytest.mark.usefixtures("shared_cluster")

SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 24},
    "budgets": [1, 2, 4, 8],
    "answer_tokens": 8,
    "actors": 2,
    "sweep": {
        "objective": ["coverage@4", "flops"],
        "space": [
            {"sampler.kind": "mc_dropout", "sampler.p": 0.1, "latent_steps": [5, 6]},
            {"sampler.kind": "gaussian", "sampler.sigma": 0.5, "sampler.relative": True},
        ],
    },
}
TRIALS = ["mc_dropout p=0.1 latent_steps=5", "mc_dropout p=0.1 latent_steps=6", "gaussian sigma=0.5 relative"]


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
    objectives = pd.read_csv(tmp_path / "results" / "objectives.csv").set_index("trial")
    assert list(objectives.index) == TRIALS
    for name in TRIALS:
        final = {m.step: m.value for m in client.get_metric_history(runs[name].info.run_id, "majority_vote")}
        rows = curves[(curves["trial"] == name) & (curves["aggregation"] == "majority_vote")]
        assert final == dict(zip(rows["n"], rows["value"], strict=True))
        live = client.get_metric_history(runs[name].info.run_id, "live/coverage")
        assert [metric.step for metric in live] == [1, 2, 4, 8]
        assert runs[name].info.run_id in summary["mlflow"]["link"]
        at_four = curves[(curves["trial"] == name) & (curves["aggregation"] == "coverage") & (curves["n"] == 4)]
        assert objectives.loc[name, "coverage@4"] == at_four["value"].item()
        assert runs[name].data.metrics["objective.coverage_at_4"] == at_four["value"].item()
    # What is cheapest, or best, of all is always on the front.
    assert objectives.loc[objectives["flops"].idxmin(), "pareto"]
    assert objectives.loc[objectives["coverage@4"] == objectives["coverage@4"].max(), "pareto"].any()
    assert "Pareto front" in result.stdout
    assert re.search(r"reasoners [1-9]\d* % busy", result.stderr)
    assert summary["best"] == objectives.index[objectives["pareto"]].tolist()


def test_early_stopping_finds_what_a_full_grid_finds(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    """Half of the settings are deliberately bad; they share one store, so the grid samples only what is missing."""
    space = [
        {"sampler.kind": "mc_dropout", "sampler.p": [0.3, 0.9]},
        {"sampler.kind": "gaussian", "sampler.sigma": [0.5, 1.0, 20.0, 40.0], "sampler.relative": True},
        {"sampler.kind": "answer_sampling", "sampler.temperature": [0.7, 50.0]},
    ]
    bad = ["p=0.9", "sigma=20.0", "sigma=40.0", "temperature=50.0"]
    sweep = {"space": space, "objective": "majority_vote", "grace_samples": 1}
    grid = config_file({**SETTINGS, "sweep": sweep})
    asha = latentswarm("sweep", str(grid), "sweep.scheduler=asha", "--out", "asha")
    assert asha.returncode == 0, asha.stderr
    summary = json.loads((tmp_path / "asha" / "summary.json").read_text())
    samples = {trial["trial"]: trial["samples"] for trial in summary["trials"] if trial["trial"] != "greedy"}
    stopped = [name for name in samples if samples[name] < 8 and any(part in name for part in bad)]
    assert len(samples) == 8
    assert len(stopped) >= len(bad) / 2
    curves = pd.read_csv(tmp_path / "asha" / "curves.csv")
    for name in stopped:
        beyond = curves[(curves["trial"] == name) & (curves["n"] > samples[name])]
        assert len(beyond) > 0
        assert beyond["value"].isna().all()

    assert summary["best"] == ["answer_sampling temperature=0.7"]
    full = latentswarm("sweep", str(grid), "--out", "full")
    assert full.returncode == 0, full.stderr
    assert json.loads((tmp_path / "full" / "summary.json").read_text())["best"] == summary["best"]
