"""`latentswarm train-policy` as a user meets it: to a checkpoint that runs, through deaths of its processes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from rich.console import Console
from support import Command, WriteConfig, command_of_parent, environment, processes_below

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.policy.rollouts import rollout
from latent_core.policy.trainable import load_weights
from orchestrator.config.loading import load_config
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.jobs.train_policy_job import train_policy
from orchestrator.policy_training.job import PolicyJob
from orchestrator.policy_training.order import QuestionOrder, seed_of
from orchestrator.policy_training.plan import plan_policy
from orchestrator.policy_training.state import read_state

pytestmark = pytest.mark.usefixtures("shared_cluster")

UPDATES, EVERY, STALENESS = 24, 4, 1
CONFIG: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "count": 64},
    "validation": {"task": {"name": "word_problems", "count": 12}, "every": EVERY, "samples": 4},
    "sampler": {"kind": "mc_dropout", "p": 0.1},
    "policy": {"questions_per_update": 8, "trajectories": 2, "answers": 8, "warmup_updates": 2},
    "updates": UPDATES,
    "staleness": STALENESS,
    "actors": 2,
}
Weights = dict[str, torch.Tensor]


def history(out: Path) -> list[dict[str, Any]]:
    file = out / "history.json"
    return json.loads(file.read_text()) if file.is_file() else []


def wait_for(out: Path, update: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while not any(entry["update"] >= update for entry in history(out)):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.05)


def kill_one(name: str) -> None:
    process = processes_below(os.getpid(), name)[0]
    assert "orchestrator" in command_of_parent(process), "not forked from the command"
    os.kill(process, signal.SIGKILL)


def trained_without_ray(config: TrainPolicyConfig) -> dict[int, Weights]:
    """Train in this process, undisturbed; returns the weights by the number of updates."""
    torch.set_num_threads(1)
    job = PolicyJob.of(plan_policy(config))
    learner, policy = job.new_learner("cpu"), config.policy
    actor = LatentReasoner.from_pretrained(config.checkpoint, trainable=True)
    order = QuestionOrder(job.train, config.seed, policy.questions_per_update)
    found = {0: learner.weights()}
    for update in range(config.updates):
        version = max(0, update - config.staleness)
        load_weights(actor, found[version])
        problems, seed = order.questions(update), seed_of(config.seed, update)
        learner.update(problems, rollout(actor, config.sampler, problems, policy, seed, version))
        found[update + 1] = learner.weights()
    return found


@pytest.mark.usefixtures("own_cluster")
def test_from_a_reasoner_to_a_policy_through_deaths_of_actor_learner_and_driver(
    latentswarm: Command, config_file: WriteConfig, tmp_path: Path
) -> None:
    file, out = config_file(CONFIG), tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "train-policy", str(file), "--out", "out"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(out, EVERY, process)
    kill_one("PolicyWorker")
    wait_for(out, 2 * EVERY, process)
    kill_one("RayTrainWorker")
    wait_for(out, 3 * EVERY, process)
    process.kill()
    process.communicate()
    assert not (out / "summary.json").exists()

    resumed = latentswarm("train-policy", str(file), "--out", "out")
    assert resumed.returncode == 0, resumed.stderr
    assert [entry["update"] for entry in history(out)] == list(range(UPDATES + 1))
    summary = json.loads((out / "summary.json").read_text())
    check_numbers(out, summary)
    check_tracking(summary)

    expected = trained_without_ray(load_config(TrainPolicyConfig, out / "config.yaml"))
    policy = dict(LatentReasoner.from_pretrained(str(out / "checkpoint"), trainable=True).model.named_parameters())
    for name, tensor in expected[summary["best_update"]].items():
        assert torch.equal(policy[name], tensor), name
    last = read_state(max((out / "training-state" / "train-policy").glob("checkpoint_2*")))
    for name, tensor in expected[UPDATES].items():
        assert torch.equal(last.learner["parameters"][name], tensor), name

    said = io.StringIO()
    train_policy(load_config(TrainPolicyConfig, file), out, Console(file=said))
    assert "nothing to do" in said.getvalue()
    with pytest.raises(UserError, match="holds a training with another seed; choose another directory"):
        train_policy(load_config(TrainPolicyConfig, file, ["seed=1"]), out, Console(file=said))

    run = latentswarm(
        "run", str(run_config(tmp_path)), f"checkpoint={out / 'checkpoint'}", "--out", "curves", timeout=120
    )
    assert run.returncode == 0, run.stderr
    inspected = latentswarm("inspect", str(out / "checkpoint"))
    assert inspected.returncode == 0, inspected.stderr


def run_config(folder: Path) -> Path:
    file = folder / "run.yaml"
    file.write_text(
        "checkpoint: x\ntask: {name: word_problems, limit: 8}\nsampler: {kind: mc_dropout, p: 0.1}\nbudgets: [1, 2]\n"
    )
    return file


def check_numbers(out: Path, summary: dict[str, Any]) -> None:
    assert summary["updates"] == UPDATES
    assert summary["rollouts"] == UPDATES * 8 * 2 * 8
    assert summary["best_update"] % EVERY == 0
    assert summary["best_update"] > 0
    for measured in summary["validation"].values():
        assert all(0 <= measured[name] <= 1 for name in ("greedy", "mean", "majority", "coverage"))
    gains = [summary["validation"]["policy"][f"greedy_gain{end}"] for end in ("_lo", "", "_hi")]
    assert gains == sorted(gains)
    assert summary["means"]["bytes_per_rollout"] <= 200
    with (out / "updates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["update"]) for row in rows] == list(range(UPDATES + 1))
    judged = [int(row["update"]) for row in rows if row["validation_greedy"]]
    assert judged == list(range(0, UPDATES + 1, EVERY))
    assert all(0 <= float(row["no_signal"]) <= 1 for row in rows[1:])
    # Behind the first update all rollouts are by weights that are one update old.
    assert [float(row["stale"]) for row in rows[1:]] == [0.0, *[1.0] * (UPDATES - 1)]
    card = (out / "checkpoint" / "README.md").read_text()
    assert "| greedy | " in card
    assert (out / "training.png").stat().st_size > 10_000


def check_tracking(summary: dict[str, Any]) -> None:
    """One run, although two commands wrote it, and no point twice."""
    client = MlflowClient(summary["mlflow"]["uri"])
    run = client.get_run(summary["mlflow"]["run_id"])
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert run.info.status == "FINISHED"
    assert run.data.params["policy.objective"] == "answer"
    rewards = client.get_metric_history(run.info.run_id, "reward")
    assert sorted(point.step for point in rewards) == list(range(1, UPDATES + 1))
    for name in ("greedy", "greedy_lo", "coverage_hi"):
        points = client.get_metric_history(run.info.run_id, f"validation/{name}")
        assert sorted(point.step for point in points) == list(range(0, UPDATES + 1, EVERY))


def test_two_learners_take_the_step_of_one(latentswarm: Command, config_file: WriteConfig, tmp_path: Path) -> None:
    small = {**CONFIG, "updates": 2, "staleness": 0, "actors": 1, "validation": {**CONFIG["validation"], "every": 2}}
    file, entries = config_file(small), []
    for workers in (1, 2):
        out = tmp_path / f"workers-{workers}"
        done = latentswarm("train-policy", str(file), "--out", out.name, f"learner.workers={workers}")
        assert done.returncode == 0, done.stderr
        entries.append([entry["numbers"] for entry in history(out)[1:]])
    one, two = entries
    for name in ("loss", "grad_norm", "reward", "entropy", "no_signal"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-4), name
    # The second update is by other weights only as far as sums are rounded otherwise.
    assert two[1]["loss"] == pytest.approx(one[1]["loss"], rel=0.05, abs=1e-3)
