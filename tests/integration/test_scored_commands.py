"""Commands with a LatentRM: scores, beam searches and sweeps, and drivers that are killed in the middle."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from commands import run_command
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from support import Command, WriteConfig, environment, shard_files, stored_rows

from latent_core.failures import CPU_ALLOCATOR
from latent_core.models.checkpoint import Checkpoint
from latent_core.tasks.loading import load_task
from latent_core.trajectory import TrajectoryBatch
from workers.tables import trajectory_table

pytestmark = pytest.mark.usefixtures("shared_cluster")

QUESTIONS = 16
UNSCORED = ("coverage", "majority_vote", "best_confidence", "confidence_vote")
SCORED = ("best_of_n", "best_of_n_answer", "weighted_vote", "weighted_vote_answer")

SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": QUESTIONS},
    "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
    "budgets": [1, 4],
    "answer_tokens": 8,
    "micro_batch": 2,
    "search": {"beams": [1, 2], "candidates": 2, "prune_from": 1},
    "store": {"path": "store", "samples_per_shard": 1},
}


@pytest.fixture(scope="module")
def finished(latent_rms: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a scorer and beam searches that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**SETTINGS, "scorer": {"checkpoint": latent_rms[0]}}))
    done = run_command(folder, "run", "experiment.yaml", "search.kind=beam", "--out", "out")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_with_a_beam_search_and_the_same_again(finished: Path) -> None:
    curves = pd.read_csv(finished / "out" / "curves.csv", keep_default_na=False)
    sampled = curves[curves["sampler"] == "gaussian"]
    points = {(row.aggregation, row.n) for row in sampled.itertuples()}
    assert points == {
        *((name, n) for name in (*UNSCORED, *SCORED) for n in (1, 4)),
        *((name, n) for name in ("beam_search", "beam_vote") for n in (2, 4)),
    }
    assert sampled["value"].between(0, 1).all()
    single = sampled[(sampled["n"] == 1) & ~sampled["aggregation"].str.startswith("beam")]
    # One sample leaves nothing to choose.
    assert len(set(single["value"])) == 1
    cost = sampled.set_index(["aggregation", "n"])["flops"]
    assert cost["best_of_n_answer", 4] > cost["best_of_n", 4] > cost["coverage", 4]
    comparisons = pd.read_csv(finished / "out" / "comparisons.csv")
    assert {(row.aggregation, row.baseline) for row in comparisons.itertuples() if row.n == 4} >= {
        (name, baseline) for name in SCORED for baseline in ("majority_vote", "greedy")
    }
    summary = json.loads((finished / "out" / "summary.json").read_text())
    # Greedy decoding, samples, and the beams of two searches.
    assert summary["trajectories_sampled_by_this_command"] == QUESTIONS * (1 + 4 + 1 + 2)
    assert [search["beams"] for search in summary["trials"][1]["searches"]] == [1, 2]

    before = shard_files(finished)
    again = run_command(finished, "run", "out/config.yaml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert "nothing to sample" in again.stderr
    assert "Ray:" not in again.stderr
    assert shard_files(finished) == before
    for name in ("curves.csv", "comparisons.csv", "questions.csv"):
        assert (finished / "again" / name).read_bytes() == (finished / "out" / name).read_bytes(), name
    assert json.loads((finished / "again" / "summary.json").read_text())["trajectories_sampled_by_this_command"] == 0


def test_a_driver_killed_in_the_middle(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "experiment.yaml", tmp_path)
    arguments = ["run", "experiment.yaml", "search.kind=beam", "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while score_files(tmp_path) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=60)
    left = shard_files(tmp_path)
    assert 3 <= score_files(tmp_path) < 4 * QUESTIONS // 2, "the driver was killed when all was scored"

    done = run_command(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    now = shard_files(tmp_path)
    assert {name: now[name] for name in left} == left
    folders = {Path(name).parent.relative_to(tmp_path) for name in now}
    assert folders == {Path(name).parent.relative_to(finished) for name in shard_files(finished)}
    # Two samplings with their decoded thoughts, the scores of one of them, and two beam searches.
    assert len(folders) == 7
    for folder in folders:
        pd.testing.assert_frame_equal(stored_rows(tmp_path / folder), stored_rows(finished / folder))
    assert (tmp_path / "out" / "curves.csv").read_bytes() == (finished / "out" / "curves.csv").read_bytes()


@pytest.mark.parametrize(
    ("error", "first_says", "options"),
    [
        (f"RuntimeError: {CPU_ALLOCATOR}: not enough memory", "failed for a passing reason", []),
        ("ValueError: not all values are finite", "failed for good, and stay", ["--retry-failed"]),
    ],
)
def test_rows_that_failed_are_tried_again(
    error: str, first_says: str, options: list[str], finished: Path, tmp_path: Path
) -> None:
    for name in ("store", "experiment.yaml"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copy
        copy(finished / name, tmp_path / name)
    failed = fail_sampled_rows(tmp_path / "store", error)
    arguments = ["run", "experiment.yaml", "search.kind=beam", "--out", "out"]
    done = run_command(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{failed} trajectories (have )?{first_says}", done.stderr), done.stderr
    curves = (finished / "out" / "curves.csv").read_bytes()
    assert ((tmp_path / "out" / "curves.csv").read_bytes() == curves) is (not options)
    if options:
        done = run_command(tmp_path, *arguments, *options)
        assert done.returncode == 0, done.stderr
        assert f"{failed} trajectories failed and are tried again" in done.stderr
    assert (tmp_path / "out" / "curves.csv").read_bytes() == curves
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["trajectories_sampled_by_this_command"] == failed
    for folder in {Path(name).parent.relative_to(finished) for name in shard_files(finished)}:
        pd.testing.assert_frame_equal(stored_rows(tmp_path / folder), stored_rows(finished / folder))


def fail_sampled_rows(store: Path, error: str) -> int:
    """Store that the trajectories of one shard failed, as a command leaves them that has not scored them yet."""
    [scores] = store.glob("*/scores-*")
    [file, *_] = sorted(scores.parent.glob("q*.parquet"))
    table = pq.read_table(file)
    ids, samples = table["question_id"].to_pylist(), table["sample_index"].to_pylist()
    batch = TrajectoryBatch.failed(ids, samples, [error] * len(ids))
    latents = pq.read_schema(file).names.count("latents") and "float16"
    failed = trajectory_table(batch, table["question_index"][0].as_py(), len(set(samples)), latents or "none")
    pq.write_table(failed, file, write_page_checksum=True)
    (scores / file.name.replace("_float16", "")).unlink()
    return len(ids)


def score_files(folder: Path) -> int:
    return len(list(folder.rglob("scores-*/q*.parquet")))


def test_a_second_latent_rm_is_a_command_that_samples_nothing(
    finished: Path, latent_rms: list[str], tmp_path: Path
) -> None:
    shutil.copytree(finished / "store", tmp_path / "store")
    shutil.copy(finished / "experiment.yaml", tmp_path)
    before = shard_files(tmp_path)
    # Cut into other shards than those it was sampled in.
    overrides = [f"scorer.checkpoint={latent_rms[1]}", "micro_batch=16", "store.samples_per_shard=4"]
    done = run_command(tmp_path, "run", "experiment.yaml", *overrides, "--out", "out")
    assert done.returncode == 0, done.stderr
    now = shard_files(tmp_path)
    assert {name: now[name] for name in before} == before
    assert {Path(name).parent.name.split("-")[0] for name in now.keys() - before.keys()} == {"scores"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["trajectories_sampled_by_this_command"] == 0
    curves = [pd.read_csv(folder / "out" / "curves.csv") for folder in (finished, tmp_path)]
    unscored = [one[one["aggregation"].isin(UNSCORED)].reset_index(drop=True) for one in curves]
    pd.testing.assert_frame_equal(*unscored)


@pytest.fixture
def poisoned(tmp_path: Path) -> tuple[Path, str]:
    """A copy of the bundled reasoner that cannot read one word, and the question that has it."""
    directory = tmp_path / "poisoned"
    reasoner = Checkpoint.open("bundled:coconut-tiny")
    shutil.copytree(reasoner.directory, directory)
    problems = load_task(name="word_problems").problems[:QUESTIONS]
    readings = {problem.question_id: set(reasoner.prompt_ids(problem.question)) for problem in problems}
    question, word = next(
        (question, token)
        for question, tokens in readings.items()
        for token in sorted(tokens)
        if sum(token in others for others in readings.values()) == 1
    )
    weights = load_file(directory / "model.safetensors")
    # The word is still written as before, so that no other question notices.
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
    # Numbers, so that the weights load, but the difference of two of them overflows.
    largest = torch.finfo(torch.float32).max
    weights["transformer.wte.weight"][word] = largest
    weights["transformer.wte.weight"][word, ::4] = -largest
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return directory, question


def test_a_question_that_breaks_is_not_scored_and_the_run_goes_on(
    latentswarm: Command,
    config_file: WriteConfig,
    tmp_path: Path,
    latent_rms: list[str],
    poisoned: tuple[Path, str],
    finished: Path,
) -> None:
    directory, question = poisoned
    changes = {"checkpoint": str(directory), "scorer": {"checkpoint": latent_rms[0]}, "micro_batch": 8}
    file = config_file(
        {**SETTINGS, **changes, "search": {"kind": "beam", "beams": 2, "candidates": 2, "prune_from": 1}}
    )
    done = latentswarm("run", str(file), "--out", "out")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert (
        f"4 of {4 * QUESTIONS} trajectories failed and count as wrong; the first: non-finite latent at step 1" in said
    )
    assert f"2 of {2 * QUESTIONS} trajectories failed" in said
    assert "no score" not in said
    [scores_of] = {path.parent for path in tmp_path.rglob("scores-*/q*.parquet")}
    rows, scores = stored_rows(scores_of.parent), stored_rows(scores_of)
    failed = rows["question_id"] == question
    assert rows["error"].notna().tolist() == failed.tolist()
    assert scores["score"].isna().tolist() == scores["answer_score"].isna().tolist() == failed.tolist()
    assert set(scores.loc[failed, "score_error"]) == {"the trajectory failed"}
    # The others are what they are without it.
    healthy = next(path.parent for path in finished.rglob("scores-*/q*.parquet"))
    expected = stored_rows(healthy)
    np.testing.assert_allclose(scores["score"][~failed], expected["score"][~failed], atol=1e-5)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [trial["errors"] for trial in summary["trials"]] == [1, 4]
    assert summary["trials"][1]["unscored"] == 0
    curves = pd.read_csv(tmp_path / "out" / "curves.csv", keep_default_na=False)
    assert {"best_of_n", "weighted_vote_answer", "beam_search"} <= set(curves["aggregation"])
    assert curves["value"].astype(float).between(0, 1).all()


def test_a_sweep_with_scorer_and_searches(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path, latent_rms: list[str]
) -> None:
    """Under a scheduler, which ends a trial as soon as it has reported its largest budget."""
    trials = ["gaussian sigma=0.4", "mc_dropout p=0.1"]
    changes = {
        "scorer": {"checkpoint": latent_rms[0]},
        "search": {"kind": "beam", "beams": 2, "candidates": 2, "prune_from": 1},
        "store": {"path": "store"},
        "micro_batch": 8,
        "sweep": {
            "space": [
                {"sampler.kind": "gaussian", "sampler.sigma": 0.4},
                {"sampler.kind": "mc_dropout", "sampler.p": 0.1},
            ],
            "scheduler": "asha",
            "objective": "best_of_n",
            "grace_samples": 4,
        },
    }
    settings = {key: value for key, value in SETTINGS.items() if key != "sampler"}
    done = latentswarm("sweep", str(config_file({**settings, **changes})), "--out", "out")
    assert done.returncode == 0, done.stderr
    curves = pd.read_csv(tmp_path / "out" / "curves.csv", keep_default_na=False)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    client = MlflowClient(summary["mlflow"]["uri"])
    runs = {run.info.run_name: run for run in client.search_runs([summary["mlflow"]["experiment_id"]])}
    for trial in trials:
        rows = curves[curves["trial"] == trial].set_index(["aggregation", "n"])["value"]
        assert set(rows.index) == {
            *((name, n) for name in (*UNSCORED, *SCORED) for n in (1, 4)),
            ("beam_search", 4),
            ("beam_vote", 4),
        }
        for name in (*SCORED, "beam_search", "beam_vote"):
            logged = {metric.step: metric.value for metric in client.get_metric_history(runs[trial].info.run_id, name)}
            assert logged == pytest.approx(rows[name].to_dict()), name
