"""`latentswarm train-rm` as a user meets it: from labels to a LatentRM, and through deaths of worker and driver."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from rich.console import Console
from safetensors.torch import load_file
from support import Command, WriteConfig, environment, processes_below

from latent_core.budgets.gain_table import read_gain_tables
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.reward.checkpoint import RewardCheckpoint
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.trainer import RewardTrainer
from latent_core.samplers import parse_sampler
from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.loading import load_task
from orchestrator.config.loading import load_config
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.jobs import train_rm_job
from orchestrator.jobs.train_rm_job import train_reward_model
from orchestrator.reward_training.data import questions_of
from orchestrator.reward_training.job import RewardJob
from orchestrator.reward_training.order import QuestionOrder, read_questions
from orchestrator.reward_training.plan import RewardPlan, plan_training
from orchestrator.store.labels import LabelManifest, ReasonerIdentity
from orchestrator.store.shards import Shard
from workers.tables import LABEL_SCHEMA

pytestmark = pytest.mark.usefixtures("shared_cluster")

QUESTIONS, CANDIDATES, PER_SHARD = 40, 8, 5
UPDATES, EVERY = 48, 6
TRAINING: dict[str, Any] = {
    "score_answer": True,
    "questions_per_batch": 8,
    "updates": UPDATES,
    "warmup_updates": 4,
    "dropout": 0.1,
    "evaluate_every": EVERY,
    "report_every": 2,
    "patience": None,
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set: candidates and completions of the bundled reasoner on word problems."""
    torch.set_num_threads(1)
    out: Path = tmp_path_factory.mktemp("labels")
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.5, "relative": True})
    problems = load_task(name="word_problems", split="validation").head(QUESTIONS).problems
    lengths = {"latent_steps": 6, "answer_tokens": 8}
    labelled = annotate(reasoner, sampler, problems, CANDIDATES, 1, seed=0, **lengths)
    rows, mixed = [], 0
    for index, problem in enumerate(problems):
        own = labelled[index * CANDIDATES : (index + 1) * CANDIDATES]
        is_mixed = own[0].labels is not None
        mixed += is_mixed
        for sample, one in enumerate(own):
            latents = one.trajectory.latents
            rows.append(
                {
                    "question_id": problem.question_id,
                    "question_index": index,
                    "question": problem.question,
                    "reference": problem.answer,
                    "grader": problem.grader,
                    "sample_index": sample,
                    "answer": one.trajectory.answer,
                    "correct": one.trajectory.correct,
                    "latent_steps": 6,
                    "latents": latents.astype(np.float16).ravel() if is_mixed and latents is not None else None,
                    "answer_ids": list(one.trajectory.answer_ids),
                    "labels": one.labels,
                    "rollouts": 1,
                    "error": None,
                }
            )
    for first in range(0, QUESTIONS, PER_SHARD):
        block = rows[first * CANDIDATES : (first + PER_SHARD) * CANDIDATES]
        file = out / "shards" / Shard(first, first + PER_SHARD, 0, CANDIDATES).file_name()
        file.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(block, schema=LABEL_SCHEMA), file)
    LabelManifest(
        directory=str(out / "shards"),
        reasoner=ReasonerIdentity(source="bundled:coconut-tiny", fingerprint=reasoner.checkpoint.fingerprint),
        task="word_problems",
        candidates=CANDIDATES,
        rollouts=1,
        latent_steps=6,
        hidden_size=128,
        questions=QUESTIONS,
        mixed_questions=mixed,
        sampler=sampler.to_config(),
        answer_tokens=8,
    ).save(out)
    return out


def history(out: Path) -> list[dict[str, Any]]:
    file = out / "history.json"
    return json.loads(file.read_text()) if file.is_file() else []


def wait_for(out: Path, evaluations: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while len(history(out)) < evaluations:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.05)


def kill_training_worker() -> None:
    (worker,) = processes_below(os.getpid(), "RayTrainWorker")
    os.kill(worker, signal.SIGKILL)


def trained_without_ray(config: TrainRewardConfig) -> dict[int, dict[str, torch.Tensor]]:
    """Train in this process, undisturbed; returns the weights at every evaluation, by update."""
    job = RewardJob.of(plan_training(config))
    trainer = RewardTrainer(job.new_model(), job.settings, job.updates)
    order, encode = QuestionOrder(job.train, job.settings.seed, job.window, job.per_batch), job.encoder()
    addresses = [address for window in order.windows(0, job.updates, 0, 1) for address in window]
    snapshots = {}
    for first in range(0, len(addresses), job.per_batch):
        rows = read_questions(addresses[first : first + job.per_batch], CANDIDATES)
        trainer.step(questions_of(rows, CANDIDATES, encode))
        if trainer.update % job.settings.evaluate_every == 0:
            snapshots[trainer.update] = {name: one.clone() for name, one in trainer.model.model.state_dict().items()}
    return snapshots


def test_from_labels_to_a_latent_rm_through_deaths_of_worker_and_driver(
    labels: Path, latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    file = config_file({"data": str(labels), "validation_share": 0.3, "training": TRAINING, "shuffle_window": 10})
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "train-rm", str(file), "--out", "out"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(out, 1, process)
    kill_training_worker()
    wait_for(out, len(history(out)) + 1, process)
    process.kill()
    process.communicate()
    assert len(history(out)) < UPDATES // EVERY
    assert not (out / "training.json").exists()

    resumed = latentswarm("train-rm", str(file), "--out", "out")
    assert resumed.returncode == 0, resumed.stderr
    assert [entry["update"] for entry in history(out)] == list(range(EVERY, UPDATES + 1, EVERY))
    assert "best_of_n_answer" in resumed.stdout
    summary = json.loads((out / "training.json").read_text())
    check_summary(summary)
    check_latent_rm(out / "latent-rm", summary)
    check_tracking(summary)

    expected = trained_without_ray(load_config(TrainRewardConfig, out / "config.yaml"))
    best = load_file(out / "latent-rm" / "model.safetensors")
    last_file = max((out / "checkpoints" / "train-rm").glob("checkpoint_2*")) / "state.pt"
    last = torch.load(last_file, weights_only=True)["trainer"]["model"]
    assert best.keys() == expected[UPDATES].keys()
    for name, tensor in expected[summary["best_update"]].items():
        assert torch.equal(tensor, best[name]), name
    for name, tensor in expected[UPDATES].items():
        assert torch.equal(tensor, last[f"model.{name}"]), name

    said = io.StringIO()
    train_reward_model(load_config(TrainRewardConfig, file), out, Console(file=said))
    assert "nothing to do" in said.getvalue()
    with pytest.raises(UserError, match=r"holds a training with another training\.seed; choose another directory"):
        train_reward_model(load_config(TrainRewardConfig, file, ["training.seed=1"]), out, Console(file=said))


def test_an_error_of_the_training_ends_it_at_once(
    labels: Path, config_file: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(labels, tmp_path / "own")
    manifest = LabelManifest.load(labels).model_dump(mode="json") | {"directory": str(own / "shards")}
    LabelManifest.model_validate(manifest).save(own)

    def planned_before_a_shard_is_lost(config: TrainRewardConfig) -> RewardPlan:
        plan = plan_training(config)
        Path(plan.train[0].file).unlink()
        return plan

    monkeypatch.setattr(train_rm_job, "plan_training", planned_before_a_shard_is_lost)
    file = config_file({"data": str(own), "validation_share": 0.3, "training": TRAINING})
    said = io.StringIO()
    with pytest.raises(UserError, match=r"q0.*\.parquet: cannot be read") as refused:
        train_reward_model(load_config(TrainRewardConfig, file), tmp_path / "out", Console(file=said))
    assert "\n" not in str(refused.value)
    assert "going on" not in said.getvalue()
    assert not (tmp_path / "out" / "training.json").exists()


def check_summary(summary: dict[str, Any]) -> None:
    assert summary["updates"] == UPDATES
    counted = ("train_questions", "train_questions_left_out", "validation_questions")
    assert sum(summary[name] for name in counted) == QUESTIONS
    assert summary["costs"]["training_flops"] > 0
    final = summary["final"]
    assert final["reasoner_greedy_accuracy"] > 0.5
    assert all(0 <= value <= 1 for value in final.values())
    assert {"auc", "auc_answer", "train_auc", "backbone_greedy_accuracy"} <= final.keys()
    for name in ("coverage", "majority_vote", "best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer"):
        assert f"{name}_at_4" in final


def check_latent_rm(directory: Path, summary: dict[str, Any]) -> None:
    checkpoint = RewardCheckpoint.open(str(directory))
    assert checkpoint.card.score_answer
    assert checkpoint.card.objective == "contrastive"
    assert checkpoint.card.reasoner == summary["reasoner"]["fingerprint"]
    # From which step on a search may prune.
    assert len(checkpoint.card.auc_by_step or ()) == 6
    LatentRewardModel.from_pretrained(str(directory))
    for name in ("vote_calibration.json", "answer_vote_calibration.json"):
        VoteCalibration.model_validate_json((directory / name).read_text())
    # Budget rule "gain" needs nothing else: as many samples as there are candidates, of all held-out questions.
    gains = read_gain_tables(directory)
    assert gains is not None
    assert summary["gain_table"] == {"samples": CANDIDATES, "questions": gains.questions, "sampler": gains.sampler}
    assert gains.questions == summary["validation_questions"]
    assert gains.sampler == "gaussian sigma=0.5 relative"
    assert [stage.samples for stage in gains.tables["weighted_vote"].stages] == [4, 8]


def check_tracking(summary: dict[str, Any]) -> None:
    """One run, although two commands wrote it, and no point twice."""
    client = MlflowClient(summary["mlflow"]["uri"])
    run = client.get_run(summary["mlflow"]["run_id"])
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert run.info.status == "FINISHED"
    assert run.data.params["training.objective"] == "contrastive"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in losses) == list(range(2, UPDATES + 1, 2))
    aucs = client.get_metric_history(run.info.run_id, "validation/auc")
    assert sorted(point.step for point in aucs) == list(range(EVERY, UPDATES + 1, EVERY))
