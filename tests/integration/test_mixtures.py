"""Chat models that think in mixtures of token embeddings through every command: labels, a LatentRM, runs and sweeps."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from checkpoints import save_checkpoint_of
from commands import run_command

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

pytestmark = pytest.mark.usefixtures("shared_cluster")

QUESTIONS, CANDIDATES = 12, 4
LATENT_STEPS, ANSWER_TOKENS = 3, 1
NEVER_WRITTEN = "nobody"
GUMBEL = {"kind": "gumbel", "scale": 2.0}
# The marks of thinking are ordinary text of several tokens each, as in the released checkpoints.
TEMPLATE = (
    "{% for turn in messages %}{{ turn.role }} : {{ turn.content }} . {% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
WORDS = ("user", "assistant", ":", "<", "</", "think", ">")
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"family": "latent_sft", "chat": {"tail": "<think>"}, "answer_tokens": ANSWER_TOKENS},
    # Thoughts, the end and the answer have one budget.
    "qwen2": {"family": "soft_thinking", "answer_tokens": LATENT_STEPS + 1 + ANSWER_TOKENS},
}


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a chat model, and with questions to which some of its answers are right and others wrong."""
    described = {**FAMILIES[request.param], "prompt": "{question}", "latent_steps": LATENT_STEPS, "extractor": "text"}
    checkpoint = save_checkpoint_of(tmp_path / "chat", request.param, words=WORDS, chat_template=TEMPLATE)
    (checkpoint / "latent.json").write_text(json.dumps(described))
    problems = [Problem(f"q{n}", f"ann has {n} pens . ben buys {n + 3} cards ?", "?", grader="text") for n in range(12)]
    reasoner = LatentReasoner.from_pretrained(str(checkpoint))
    rows = list(
        sample_trajectories(
            reasoner,
            parse_sampler(GUMBEL),
            problems,
            range(CANDIDATES),
            latent_steps=LATENT_STEPS,
            answer_tokens=described["answer_tokens"],
            seed=0,
        )
    )
    written = []
    for problem in problems:
        answers = Counter(row.answer for row in rows if row.question_id == problem.question_id and row.answer)
        # The most frequent answer; there is none where every sample ended at once.
        [(reference, _)] = answers.most_common(1) or [(NEVER_WRITTEN, 0)]
        written.append({"id": problem.question_id, "question": problem.question, "answer": reference})
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in written))
    shared = {
        "checkpoint": "chat",
        "task": {"path": "questions.jsonl", "grader": "text", "cut_answers": "vote"},
        "sampler": GUMBEL,
        "micro_batch": 4,
        "store": {"path": "store"},
    }
    space = {"sampler.kind": "gumbel", "sampler.scale": [0.5, 2.0], "sampler.temperature": 0.5}
    training = {"questions_per_batch": 2, "updates": 4, "warmup_updates": 1, "evaluate_every": 2, "patience": None}
    run = {**shared, "budgets": [1, CANDIDATES], "scorer": {"checkpoint": "trained/latent-rm"}}
    configurations = {
        "annotate": {**shared, "candidates": CANDIDATES, "rollouts": 2},
        "train-rm": {"data": "labels", "validation_share": 0.3, "training": training},
        "run": run,
        "sweep": {**run, "sweep": {"space": [space]}},
    }
    for name, content in configurations.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_a_chat_model_is_labelled_scored_and_swept(folder: Path) -> None:
    for command, out in (("annotate", "labels"), ("train-rm", "trained"), ("run", "out"), ("sweep", "swept")):
        done = run_command(folder, command, f"{command}.yaml", "--out", out)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    labelled = json.loads((folder / "labels" / "summary.json").read_text())
    assert labelled["mixed_questions"] >= QUESTIONS // 3
    assert labelled["failed_candidates"] == 0
    assert labelled["completions"] > 0

    curves = pd.read_csv(folder / "out" / "curves.csv", keep_default_na=False)
    sampled = curves[curves["sampler"] == "gumbel"]
    assert {"coverage", "majority_vote", "best_of_n", "weighted_vote"} <= set(sampled["aggregation"])
    at_all = sampled[sampled["n"] == CANDIDATES].set_index("aggregation")["value"]
    references = pd.read_json(folder / "questions.jsonl", lines=True, dtype=str)["answer"]
    assert at_all["coverage"] == pytest.approx((references != NEVER_WRITTEN).mean())
    assert at_all["coverage"] > 0.5
    assert 0.0 <= at_all["best_of_n"] <= at_all["coverage"]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert all(trial["errors"] == 0 for trial in summary["trials"])

    swept = pd.read_csv(folder / "swept" / "curves.csv", keep_default_na=False)
    trials = {"gumbel scale=0.5 temperature=0.5", "gumbel scale=2.0 temperature=0.5"}
    assert trials <= set(swept["trial"])
    assert {"best_of_n", "weighted_vote"} <= set(swept[swept["trial"].isin(trials)]["aggregation"])
