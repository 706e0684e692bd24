"""`latentswarm annotate` as a user meets it: a labelled set, found again, and the same whatever died meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import run_command
from support import environment, process_below, shard_files, stored_rows

from latent_core.models.checkpoint import Checkpoint
from orchestrator.store.labels import LabelManifest, label_files, read_labels

pytestmark = pytest.mark.usefixtures("shared_cluster")

QUESTIONS, CANDIDATES, ROLLOUTS, STEPS = 24, 4, 4, 6
SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "split": "train", "count": QUESTIONS},
    "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
    "candidates": CANDIDATES,
    "rollouts": ROLLOUTS,
    "answer_tokens": 8,
    "micro_batch": 1,
    "store": {"path": "store"},
}
ARGUMENTS = ["annotate", "annotate.yaml", "--out", "out"]


def annotate(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "annotate.yaml").write_text(yaml.safe_dump(SETTINGS))
    return run_command(folder, *ARGUMENTS)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an annotation that nothing disturbed."""
    folder: Path = tmp_path_factory.mktemp("labelled")
    done = annotate(folder)
    assert done.returncode == 0, done.stderr
    assert "questions have right and wrong candidates and are for training" in done.stdout
    return folder


def labels_of(folder: Path) -> pd.DataFrame:
    [directory] = {file.parent for file in folder.rglob("q*.parquet")}
    return stored_rows(directory)


def test_the_manifest_says_what_the_shards_hold(labelled: Path) -> None:
    manifest = LabelManifest.load(labelled / "out")
    rows = pd.concat([read_labels(file).to_pandas() for file in label_files(manifest)])
    assert len(rows) == QUESTIONS * CANDIDATES
    assert rows.groupby("question_id")["sample_index"].agg(list).map(sorted).map(tuple).unique().tolist() == [
        tuple(range(CANDIDATES))
    ]
    right = rows.groupby("question_id")["correct"].sum()
    mixed = set(right[(right > 0) & (right < CANDIDATES)].index)
    assert 0 < len(mixed) < QUESTIONS
    assert (manifest.questions, manifest.mixed_questions) == (QUESTIONS, len(mixed))
    assert (manifest.candidates, manifest.rollouts, manifest.latent_steps) == (CANDIDATES, ROLLOUTS, STEPS)
    assert manifest.reasoner.fingerprint == Checkpoint.open("bundled:coconut-tiny").fingerprint
    assert manifest.sampler == SETTINGS["sampler"]
    for row in rows.itertuples():
        assert (row.labels is not None) == (row.latents is not None) == (row.question_id in mixed)
        if row.labels is not None:
            assert len(row.labels) == STEPS
            assert len(row.latents) == STEPS * manifest.hidden_size
            assert row.labels[-1] == row.correct
            # Shares of so many completions, and nothing between them.
            assert (np.asarray(row.labels) * ROLLOUTS % 1 == 0).all()
    counts = json.loads((labelled / "out" / "summary.json").read_text())
    assert counts["mixed_questions"] + counts["all_right"] + counts["all_wrong"] == QUESTIONS
    assert counts["all_right"] == (right == CANDIDATES).sum()
    assert counts["completions"] == len(mixed) * CANDIDATES * ROLLOUTS * (STEPS - 1)
    assert counts["accuracy_of_candidates"] == pytest.approx(rows["correct"].mean())


def test_the_same_command_again_does_nothing(labelled: Path) -> None:
    before, manifest = shard_files(labelled), (labelled / "out" / "labels.json").read_bytes()
    again = annotate(labelled)
    assert again.returncode == 0, again.stderr
    assert f"to label    0 of {QUESTIONS * CANDIDATES} candidates" in again.stderr
    assert "Ray:" not in again.stderr
    assert shard_files(labelled) == before
    assert (labelled / "out" / "labels.json").read_bytes() == manifest


def disturbed(folder: Path, disturb: Callable[[int], None]) -> int:
    """Annotate, and disturb the command once some questions have been labelled; returns how it ended."""
    (folder / "annotate.yaml").write_text(yaml.safe_dump(SETTINGS))
    command = [sys.executable, "-m", "orchestrator", *ARGUMENTS]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 200
        while len(shard_files(folder)) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        disturb(process.pid)
        assert 3 <= len(shard_files(folder)) < QUESTIONS, "nothing was left to disturb"
        return process.wait(timeout=200)


def assert_undisturbed(folder: Path, labelled: Path) -> None:
    pd.testing.assert_frame_equal(labels_of(folder), labels_of(labelled))
    one, other = (LabelManifest.load(place / "out") for place in (folder, labelled))
    assert one.model_copy(update={"directory": other.directory}) == other


def test_a_driver_killed_in_the_middle(labelled: Path, tmp_path: Path) -> None:
    assert disturbed(tmp_path, lambda driver: os.kill(driver, signal.SIGKILL)) == -signal.SIGKILL
    left = shard_files(tmp_path)
    assert not (tmp_path / "out" / "labels.json").exists()
    done = annotate(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"to label    {(QUESTIONS - len(left)) * CANDIDATES} of" in done.stderr
    now = shard_files(tmp_path)
    assert {name: now[name] for name in left} == left
    assert_undisturbed(tmp_path, labelled)


def test_an_actor_killed_in_the_middle(labelled: Path, tmp_path: Path) -> None:
    def kill_actor(_: int) -> None:
        os.kill(process_below(os.getpid(), "ReasonerWorker"), signal.SIGKILL)

    assert disturbed(tmp_path, kill_actor) == 0
    assert_undisturbed(tmp_path, labelled)
