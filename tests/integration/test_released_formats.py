"""Checkpoints of every released format on whole real benchmarks: nothing is lost, and nothing is dressed up."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from checkpoints import save_adaptive_checkpoint
from support import Command, shared_folder

from latent_core.engine.sampling import sample_trajectories
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

pytestmark = pytest.mark.usefixtures("shared_cluster")

ROOT = Path(__file__).parents[2]
SIZES = {"gsm8k_test": 1319, "gsm_hard": 1318, "multiarith": 580, "svamp": 1000, "gsm8k_aug_valid": 500}


def run(latentswarm: Command, out: Path, family: str, benchmark: str, *overrides: str) -> dict[str, Any]:
    """Run a shipped configuration on a small checkpoint of its format; returns the summary."""
    done = latentswarm(
        "run",
        str(ROOT / "tune_configs" / f"{family}_gsm8k.yaml"),
        f"checkpoint={shared_folder('parity')}/{family}",
        f"task.path={shared_folder('data')}/{benchmark}.json",
        "actor.gpus=0",
        "actors=1",
        "micro_batch=64",
        "answer_tokens=16",
        *overrides,
        "--out",
        str(out),
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.mark.parametrize(
    ("family", "benchmark"),
    [
        ("coconut", "gsm8k_test"),
        ("codi", "gsm_hard"),
        ("colar", "multiarith"),
        ("codi", "svamp"),
        ("colar", "gsm8k_aug_valid"),
    ],
)
def test_a_whole_benchmark(latentswarm: Command, tmp_path: Path, family: str, benchmark: str) -> None:
    summary = run(latentswarm, tmp_path / "run", family, benchmark)
    [greedy] = summary["trials"]
    assert summary["questions"] == greedy["trajectories"] == SIZES[benchmark]
    assert greedy["errors"] == 0

    [shards] = (tmp_path / "runs" / "store").glob("*")
    rows = pd.concat([pd.read_parquet(file) for file in shards.glob("q*.parquet")])
    assert sorted(rows["question_index"]) == list(range(SIZES[benchmark]))
    # Random weights hardly ever write an answer, and seldom end one; what cannot be read or was cut off is wrong, and
    # stays in the denominator.
    unread = rows["answer"].isna()
    assert greedy["cut"] == int(rows["cut"].sum())
    assert greedy["unparsable"] == int((unread & ~rows["cut"]).sum())
    assert greedy["cut"] + greedy["unparsable"] > 0
    assert not rows.loc[unread, "correct"].any()
    value = pd.read_csv(tmp_path / "run" / "curves.csv")["value"].iloc[0]
    assert value == pytest.approx((rows["correct"] & ~rows["cut"]).sum() / SIZES[benchmark])
    if family == "colar":
        assert len(set(rows["latent_steps"])) > 1


def test_both_published_samplers_and_the_released_reward_model(latentswarm: Command, tmp_path: Path) -> None:
    reward_model = f"scorer.checkpoint={shared_folder('parity')}/latentrm-coconut"
    file = str(ROOT / "tune_configs" / "coconut_gsm8k.yaml")
    done = latentswarm(
        "sweep",
        file,
        f"checkpoint={shared_folder('parity')}/coconut",
        f"task.path={shared_folder('data')}/svamp.json",
        "task.limit=16",
        "budgets=[1,4]",
        "actor.gpus=0",
        "answer_tokens=8",
        reward_model,
        "--out",
        "run",
    )
    assert done.returncode == 0, done.stderr
    curves = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert set(curves["sampler"]) >= {"mc_dropout", "gaussian"}
    assert set(curves["aggregation"]) >= {"coverage", "majority_vote", "best_of_n", "weighted_vote"}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {trial["unscored"] for trial in summary["trials"]} == {0}


def test_a_reward_model_for_a_reasoner_that_decides_how_long_it_thinks(latentswarm: Command, tmp_path: Path) -> None:
    """Sampled, labelled, learnt from and chosen with, through every command."""
    questions = [f"ann has {number} pens . buys {number + 3} pens ?" for number in range(16)]
    problems = [Problem(str(index), text, "0") for index, text in enumerate(questions)]
    sampler = {"kind": "gaussian", "sigma": 0.5, "relative": True}
    reasoner = save_adaptive_checkpoint(
        tmp_path / "reasoners",
        lambda one: sample_trajectories(
            one, parse_sampler(sampler), problems, range(4), latent_steps=5, answer_tokens=6, seed=0
        ),
    )
    base: dict[str, Any] = {
        "checkpoint": str(reasoner.checkpoint.directory),
        # Random weights seldom end an answer.
        "task": {"path": "questions.json", "cut_answers": "vote"},
        "sampler": sampler,
        "answer_tokens": 6,
    }
    write(tmp_path / "questions.json", [{"question": text, "answer": "0"} for text in questions])
    write(tmp_path / "run.yaml", {**base, "budgets": [8], "store": {"path": "first"}})
    succeed(latentswarm, "run", "run.yaml", "--out", "look")
    rows = pd.concat([pd.read_parquet(file) for file in (tmp_path / "first").rglob("q*.parquet")])
    assert len(set(rows["latent_steps"])) > 1

    # What most samples of a question say is called right, so that there is something to tell apart.
    usual = rows.groupby("question_index")["answer"].agg(lambda answers: next(iter(answers.mode()), "0"))
    answered = [{"question": text, "answer": usual[index]} for index, text in enumerate(questions)]
    write(tmp_path / "questions.json", answered)
    write(tmp_path / "annotate.yaml", {**base, "candidates": 8, "rollouts": 4})
    succeed(latentswarm, "annotate", "annotate.yaml", "--out", "labels")
    labels = pd.concat([pd.read_parquet(file) for file in (tmp_path / "runs" / "store").rglob("q*.parquet")])
    labelled = labels[labels["labels"].notna()]
    assert len(labelled)
    assert (labelled["labels"].map(len) == labelled["latent_steps"]).all()
    assert len(set(labelled["latent_steps"])) > 1

    training = {"updates": 4, "questions_per_batch": 2, "evaluate_every": 2, "score_answer": True}
    write(tmp_path / "train.yaml", {"data": "labels", "validation_share": 0.4, "training": training})
    succeed(latentswarm, "train-rm", "train.yaml", "--out", "trained")
    scorer = {"checkpoint": "trained/latent-rm"}
    write(tmp_path / "choose.yaml", {**base, "budgets": [1, 8], "scorer": scorer})
    succeed(latentswarm, "run", "choose.yaml", "--out", "chosen")
    curves = pd.read_csv(tmp_path / "chosen" / "curves.csv")
    names = {"best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer"}
    assert names <= set(curves.loc[curves["value"].notna(), "aggregation"])
    refused = latentswarm("run", "choose.yaml", "search.kind=beam", "--out", "searched")
    assert refused.returncode == 2
    assert "decides by itself how long each trajectory thinks; set search.kind=none" in refused.stderr


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def succeed(latentswarm: Command, *arguments: str) -> None:
    done = latentswarm(*arguments)
    assert done.returncode == 0, done.stderr
