"""A sweep over checkpoints and tasks: a sweep each, planned together, and compared at the end."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import Command, WriteConfig

pytestmark = pytest.mark.usefixtures("shared_cluster")

NOISE = {"sampler.kind": "gaussian", "sampler.sigma": 0.4, "sampler.relative": True}
SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 8},
    "budgets": [1, 4],
    "answer_tokens": 8,
    "sweep": {
        "objective": "majority_vote",
        "space": [
            {"checkpoint": "bundled:coconut-tiny", "task.name": "word_problems", **NOISE},
            {"checkpoint": "bundled:coconut-paths", "task.name": "path_finding", **NOISE},
        ],
    },
}
FOLDERS = ["coconut-tiny-word_problems", "coconut-paths-path_finding"]


def test_two_models_on_their_own_questions(latentswarm: Command, config_file: WriteConfig, tmp_path: Path) -> None:
    file = str(config_file(SETTINGS))
    wrong = latentswarm("sweep", file, "latent_steps=500", "--out", "results")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("latentswarm: coconut-tiny word_problems: ")
    assert not (tmp_path / "results").exists()

    result = latentswarm("sweep", file, "--out", "results")
    assert result.returncode == 0, result.stderr
    out = tmp_path / "results"
    assert "sweep 2 of 2: coconut-paths path_finding" in result.stderr
    # Ray Data warns of more processes than shards, and there is one shard.
    assert "Warning" not in result.stderr
    curves = pd.read_csv(out / "curves.csv")
    assert list(curves["run"].unique()) == FOLDERS
    for folder in FOLDERS:
        own = pd.read_csv(out / folder / "curves.csv")
        assert own["value"].tolist() == curves[curves["run"] == folder]["value"].tolist()
        assert json.loads((out / folder / "summary.json").read_text())["questions"] == 8
    assert "different checkpoints on different questions" in result.stdout

    status = latentswarm("status", "results", "--json")
    assert [one["state"] for one in json.loads(status.stdout)] == ["finished", "finished"]
    report = latentswarm("report", "results")
    assert report.returncode == 0, report.stderr
    pd.testing.assert_frame_equal(pd.read_csv(out / "curves.csv"), curves)
