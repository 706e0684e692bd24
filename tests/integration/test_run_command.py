"""`latentswarm run` as a user meets it: results, reuse, interruption, and wrong input that only the cluster knows."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support import Command, WriteConfig, environment, shard_files, stored_rows

from latent_core.budgets import Prefix, parse_budget
from orchestrator.experiment.lease import LEASE_VARIABLE

pytestmark = pytest.mark.usefixtures("shared_cluster")

SETTINGS: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 24},
    "sampler": {"kind": "mc_dropout", "p": 0.1},
    "budgets": [1, 2, 4, 8],
    "answer_tokens": 8,
}
COLUMNS = ["trial", "sampler", "aggregation", "n", "value", "lo", "hi", "trajectories", "flops"]


def test_a_run_leaves_everything_a_paper_needs_and_a_second_one_samples_nothing(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    file = config_file(SETTINGS)
    first = latentswarm("run", str(file), "--out", "results")
    assert first.returncode == 0, first.stderr

    out = tmp_path / "results"
    for name in ("config.yaml", "curves.csv", "curves.png", "curves.html", "questions.csv", "summary.json"):
        assert (out / name).stat().st_size > 0, name
    curves = pd.read_csv(out / "curves.csv", keep_default_na=False)
    assert list(curves.columns) == COLUMNS
    greedy = curves.iloc[0]
    assert (greedy["sampler"], greedy["aggregation"], greedy["n"]) == ("none", "greedy", 1)
    sampled = curves[curves["sampler"] == "mc_dropout"]
    assert sorted(zip(sampled["aggregation"], sampled["n"], strict=True)) == [
        (aggregation, n)
        for aggregation in ("best_confidence", "confidence_vote", "coverage", "majority_vote")
        for n in (1, 2, 4, 8)
    ]
    assert sampled["value"].between(0, 1).all()
    assert (sampled["lo"] <= sampled["value"]).all()
    assert (sampled["value"] <= sampled["hi"]).all()
    assert (sampled["trajectories"] == 24 * sampled["n"]).all()
    assert sampled[sampled["aggregation"] == "coverage"]["flops"].is_monotonic_increasing

    summary = json.loads((out / "summary.json").read_text())
    assert summary["questions"] == 24
    assert summary["trajectories_sampled_by_this_command"] == 24 + 24 * 8
    assert [trial["trajectories"] for trial in summary["trials"]] == [24, 192]
    assert "mc_dropout p=0.1" in first.stdout
    assert str(Path("results") / "curves.png") in first.stdout
    assert re.search(r"mlflow server --backend-store-uri sqlite:////\S+/mlflow.db", first.stdout)
    assert re.search(r"\d+/216 trajectories, .* rows/s, ETA", first.stderr)

    before = shard_files(tmp_path)
    second = latentswarm("run", str(out / "config.yaml"), "--out", "again")
    assert second.returncode == 0, second.stderr
    assert "nothing to sample" in second.stderr
    assert shard_files(tmp_path) == before
    assert (tmp_path / "again" / "curves.csv").read_bytes() == (out / "curves.csv").read_bytes()

    client = MlflowClient(summary["mlflow"]["uri"])
    run, *_ = sorted(client.search_runs([summary["mlflow"]["experiment_id"]]), key=lambda run: run.info.start_time)
    assert run.info.run_name.endswith(": mc_dropout p=0.1")
    assert run.info.status == "FINISHED"
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "coverage")}
    logged = sampled[sampled["aggregation"] == "coverage"].set_index("n")["value"].to_dict()
    assert history == pytest.approx(logged)
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"curves.csv", "curves.png", "curves.html"}


@pytest.mark.usefixtures("own_cluster")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_goes_on_where_it_stopped(
    number: int, code: int, latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "task": {"name": "word_problems", "limit": 64}, "budgets": [64], "micro_batch": 4}
    file = config_file({**settings, "store": {"path": "store", "samples_per_shard": 16}})
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(file)],
        cwd=tmp_path,
        # It stands still while others ask who is there, for as long as they take.
        env=environment() | {LEASE_VARIABLE: "600"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # Jobs in the background of a script are told to ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    # Greedy decoding alone makes 16 shards: wait until sampling itself is under way.
    while len(shard_files(tmp_path)) < 20 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    out = tmp_path / "runs" / "experiment"
    process.send_signal(signal.SIGSTOP)
    refused = latentswarm("run", str(file))
    assert refused.returncode == 2, refused.stderr
    assert f"writes there since {json.loads((out / '.lease').read_text())['began']}" in refused.stderr
    assert f"process {process.pid} on" in refused.stderr
    running = latentswarm("status", str(out))
    assert f"running (process {process.pid} on" in running.stdout
    process.send_signal(signal.SIGCONT)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    # What is promised, and a busy machine's share.
    assert time.monotonic() - began < 15 + 5
    assert not re.search(r"raylet|Traceback|SIGTERM|\*\*\*", errors), errors
    assert json.loads((out / "tracking.jsonl").read_text().splitlines()[-1])["content"] == {"status": "KILLED"}
    assert "unfinished: interrupted; the same command goes on" in latentswarm("status", str(out)).stdout
    assert "the same command goes on from there" in " ".join(errors.split())
    left = shard_files(tmp_path)
    assert 20 <= len(left) < 16 + 64

    finished = latentswarm("run", str(file))
    assert finished.returncode == 0, finished.stderr
    now = shard_files(tmp_path)
    assert {name: now[name] for name in left} == left
    assert len(now) == 16 + 64
    summary = json.loads((out / "summary.json").read_text())
    sampled_rows = sum(rows_of(name) for name in now.keys() - left.keys())
    assert summary["trajectories_sampled_by_this_command"] == sampled_rows
    assert summary["trials"][1]["trajectories"] == 64 * 64


def rows_of(file: str) -> int:
    first, end, first_sample, end_sample = (int(number) for number in re.findall(r"\d+", Path(file).stem)[:4])
    return (end - first) * (end_sample - first_sample)


def test_waves_go_on_after_the_driver_was_killed_to_what_the_rule_says_of_all_samples(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    """Killed between waves and gone on with, a run has the samples that the rule wants, bit by bit, and no others."""
    settings = {**SETTINGS, "task": {"name": "word_problems", "limit": 40}, "micro_batch": 2, "budgets": [1, 2, 32]}
    fixed = config_file({**settings, "store": {"path": "fixed"}})
    assert latentswarm("run", str(fixed), "--out", "all").returncode == 0
    budget = {"rule": "posterior", "confidence": 0.9, "waves": [2, 4, 8, 16, 32]}
    file = config_file({**settings, "budget": budget, "store": {"path": "waves"}})
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(file), "--out", "killed"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    greedy = 20
    while len(shard_files(tmp_path / "waves")) < greedy + 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait(60)
    status = json.loads(latentswarm("status", "killed", "--json").stdout)
    assert status["trials"][1]["open"] > 0
    left = shard_files(tmp_path / "waves")
    finished = latentswarm("run", str(file), "--out", "killed")
    assert finished.returncode == 0, finished.stderr
    now = shard_files(tmp_path / "waves")
    assert {name: now[name] for name in left} == left
    prompts = json.loads((tmp_path / "killed" / "summary.json").read_text())["prompts"]
    assert prompts["read"] > 0
    assert prompts["kept"] > 0

    found = {name: sampled_rows(tmp_path / name) for name in ("fixed", "waves")}
    votes = np.stack([pd.factorize(own)[0] for _, own in found["fixed"].groupby("question_index")["answer"]])
    go_on = (rule := parse_budget(budget)).prepare(scored=False)
    used = [next(n for n in rule.waves if not go_on(Prefix(own[None, :n]))[0]) for own in votes]
    assert len(set(used)) > 1
    wanted = found["fixed"]["sample_index"] < found["fixed"]["question_index"].map(dict(enumerate(used)))
    pd.testing.assert_frame_equal(found["waves"], found["fixed"][wanted].reset_index(drop=True))
    questions = pd.read_csv(tmp_path / "killed" / "questions.csv")
    assert questions[questions["trial"] != "greedy"]["samples"].tolist() == used
    status = json.loads(latentswarm("status", "killed", "--json").stdout)
    assert (status["state"], status["trials"][1]["open"], status["done"]) == ("finished", 0, 40 + sum(used))

    # A run without a rule on the same store draws only what the waves have left out.
    more = latentswarm("run", str(file), "budget=null", "--out", "more")
    assert more.returncode == 0, more.stderr
    summary = json.loads((tmp_path / "more" / "summary.json").read_text())
    assert summary["trajectories_sampled_by_this_command"] == 40 * 32 - sum(used)
    assert summary["prompts"] is None
    assert "everything is in the store" in latentswarm("run", str(file), "--out", "again").stderr


def sampled_rows(store: Path) -> pd.DataFrame:
    """The rows of the one sampled trial in a store."""
    [folder] = [one for one in store.iterdir() if '"mc_dropout"' in (one / "spec.json").read_text()]
    return stored_rows(folder)


def test_more_gpus_than_the_cluster_has(latentswarm: Command, config_file: WriteConfig) -> None:
    result = latentswarm("run", str(config_file({**SETTINGS, "actors": 64, "actor": {"gpus": 8}})))
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "latentswarm: actors: 64 reasoners x (1 CPUs, 8 GPUs), and 1 CPU for the pipeline, need 512 GPUs,"
    )
    assert "Traceback" not in result.stderr
