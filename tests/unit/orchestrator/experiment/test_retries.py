"""A question that memory was short for is sampled again by the same command, and comes out as it would have at once."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from support import work_block

import latent_core.engine.sampling as engine
from latent_core.tasks.base import Problem
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run
from orchestrator.experiment.dry_run import show_dry_run
from orchestrator.experiment.experiment import Experiment
from orchestrator.pipeline.blocks import WorkItem
from orchestrator.pipeline.stages import Persist, SampleRequests
from workers.reasoner import ReasonerWorker

COLUMNS = ["question_id", "answer_text", "answer", "correct", "error", "answer_ids", "latents", "flops"]


@pytest.fixture
def planned(tiny_checkpoint: Path, tmp_path: Path) -> Callable[[str], Experiment]:
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": f"ann has {number} pens ?", "answer": number} for number in range(4)]))

    def plan(store: str) -> Experiment:
        content = {
            "checkpoint": str(tiny_checkpoint),
            "task": {"path": str(data)},
            "sampler": {"kind": "gaussian", "sigma": 0.4},
            "budgets": [1, 4],
            "answer_tokens": 4,
            "micro_batch": 4,
            "store": {"path": str(tmp_path / store), "latents": "float16"},
        }
        return plan_run("mine", parse_config(RunConfig, content), tmp_path / "out")

    return plan


def sample(experiment: Experiment, worker: ReasonerWorker) -> int:
    """Sample what the store lacks, as the stages do; returns the number of trajectories."""
    problems, done = experiment.plan.problems, 0
    for trial in experiment.sampled_trials():
        trial.store.prepare()
        coverage = trial.coverage(len(problems))
        for number, shard in enumerate(experiment.plan.missing(trial, coverage.sampled)):
            block = work_block(number, shard, problems)
            item = WorkItem.of(block)
            request = SampleRequests(trial.store.spec, trial.store.latents)(block, item)
            Persist(trial.store)(item.label(worker.sample(request)))
            done += shard.rows
    return done


def test_memory_that_was_short(
    planned: Callable[[str], Experiment], tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ReasonerWorker(str(tiny_checkpoint), "float32", torch.get_num_threads())
    mine, whole = planned("store"), planned("whole")
    sample(whole, worker)
    sample_trajectories = engine.sample_trajectories

    def short_of_memory(reasoner: Any, sampler: Any, problems: Sequence[Problem], *rest: Any, **named: Any) -> Any:
        if any(problem.question == "ann has 2 pens ?" for problem in problems) and sampler.kind == "gaussian":
            torch.empty(1 << 60)
        return sample_trajectories(reasoner, sampler, problems, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "sample_trajectories", short_of_memory)
        sample(mine, worker)
    trial, expected = mine.sampled_trials()[1], whole.sampled_trials()[1]
    assert trial.store.read(4, 4, ["error"])["error"].notna().sum() == 4
    assert trial.coverage(4).missing == 0

    said = io.StringIO()
    to_do = show_dry_run(mine, Console(file=said, width=200))
    assert to_do == 4
    assert "4 trajectories failed for a passing reason" in said.getvalue()
    assert trial.coverage(4).missing == 0

    assert mine.mend(mine.coverage()) == [
        "4 trajectories failed for a passing reason (memory, a lost device or process) and are tried again"
    ]
    assert sample(mine, worker) == 4
    rows, others = (one.store.read(4, 4, COLUMNS).to_dict("list") for one in (trial, expected))
    assert str(rows) == str(others)
    assert mine.mend(mine.coverage()) == []
