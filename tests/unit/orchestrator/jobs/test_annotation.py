"""Annotation between actors and manifest: the shards that are missing, their rows, and what is counted of them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from rich.console import Console
from support import work_block

from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.reward.types import LabelledBatch
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.tasks.word_problems import word_problems
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.jobs.annotation import annotate_from_config, label_store, missing_labels, summarise
from orchestrator.pipeline import stages
from orchestrator.pipeline.stages import AnnotateRequests, CallActor, Persist
from orchestrator.store.labels import LabelManifest, label_files, read_labels
from orchestrator.store.shards import Shard
from orchestrator.store.specs import LabelStore
from workers.requests import AnnotateRequest, PlannedCode
from workers.tables import LABEL_SCHEMA, label_table

CHECKPOINT = "bundled:coconut-tiny"
GAUSSIAN = {"kind": "gaussian", "sigma": 0.3, "relative": True}
CANDIDATES, ROLLOUTS, STEPS = 4, 2, 6


def label(reasoner: LatentReasoner, problems: tuple[Problem, ...], rollouts: int = ROLLOUTS) -> LabelledBatch:
    return annotate(
        reasoner,
        parse_sampler(GAUSSIAN),
        problems,
        CANDIDATES,
        rollouts,
        latent_steps=STEPS,
        answer_tokens=8,
        seed=1,
    )


@pytest.fixture(scope="module")
def reasoner() -> LatentReasoner:
    return LatentReasoner.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def asked(reasoner: LatentReasoner) -> tuple[Problem, ...]:
    """A question that some candidates answer rightly, one that none does, and one that all do."""
    problems = word_problems().problems[:64]
    right = [row.trajectory.correct for row in label(reasoner, tuple(problems), rollouts=0)]
    counts = [sum(right[CANDIDATES * index :][:CANDIDATES]) for index in range(64)]
    mixed = next(index for index in range(64) if 0 < counts[index] < CANDIDATES)
    easy = counts.index(CANDIDATES)
    return (
        Problem(problems[mixed].question_id, problems[mixed].question, problems[mixed].answer),
        Problem("nobody", problems[0].question, "12345"),
        Problem(problems[easy].question_id, problems[easy].question, problems[easy].answer),
    )


@pytest.fixture
def config(asked: tuple[Problem, ...], tmp_path: Path) -> AnnotateConfig:
    data = tmp_path / "questions.json"
    data.write_text(
        json.dumps([{"id": one.question_id, "question": one.question, "answer": one.answer} for one in asked])
    )
    return AnnotateConfig.model_validate(
        {
            "checkpoint": CHECKPOINT,
            "task": {"path": str(data)},
            "sampler": GAUSSIAN,
            "candidates": CANDIDATES,
            "rollouts": ROLLOUTS,
            "latent_steps": STEPS,
            "answer_tokens": 8,
            "seed": 1,
            "micro_batch": 1,
            "store": {"path": str(tmp_path / "store")},
        }
    )


class FakePool:
    """Annotates in this process."""

    def __init__(self, reasoner: LatentReasoner) -> None:
        self.asked: list[AnnotateRequest] = []
        self._reasoner = reasoner

    def call(self, method: str, request: AnnotateRequest, preferred: int) -> pa.Table:
        assert method == "annotate"
        self.asked.append(request)
        rows = label(self._reasoner, request.problems)
        return label_table(rows, request.problems, request.first_question, CANDIDATES, ROLLOUTS)


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch, reasoner: LatentReasoner) -> FakePool:
    made = FakePool(reasoner)
    monkeypatch.setattr(stages, "actor_pool", lambda names: made)
    return made


def fill(config: AnnotateConfig, plan: Plan, store: LabelStore) -> list[Shard]:
    """Label what is missing, as the pipeline does it."""
    shards = missing_labels(config, plan, store)
    store.prepare()
    for number, shard in enumerate(shards):
        stage = CallActor(("one",), "annotate", AnnotateRequests(store.spec))
        Persist(store)(stage(work_block(number, shard, plan.problems)))
    return shards


def test_all_candidates_of_a_question_are_labelled_together(config: AnnotateConfig, actor: FakePool) -> None:
    plan = make_plan(config.as_run())
    store = label_store(config, plan)
    assert fill(config, plan, store) == [Shard(index, index + 1, 0, CANDIDATES) for index in range(3)]
    assert missing_labels(config, plan, store) == []
    assert actor.asked[0] == AnnotateRequest(
        problems=plan.problems[:1],
        sampler=config.sampler.to_config(),
        candidates=CANDIDATES,
        rollouts=ROLLOUTS,
        latent_steps=STEPS,
        answer_tokens=8,
        seed=1,
        code=PlannedCode({}, {"graders": {"numeric": {"version": 2}}}),
    )


@pytest.mark.parametrize(
    "change",
    [{"candidates": 5}, {"rollouts": 3}, {"seed": 2}, {"latent_steps": 5}, {"answer_tokens": 5}, {"dtype": "bfloat16"}],
)
def test_what_changes_labels_is_another_set(config: AnnotateConfig, change: dict[str, Any]) -> None:
    other = config.model_copy(update=change)
    plans = [make_plan(one.as_run()) for one in (config, other)]
    assert label_store(config, plans[0]).name != label_store(other, plans[1]).name


@pytest.mark.parametrize("change", [{"micro_batch": 2}, {"actors": 3}])
def test_what_only_says_how_is_the_same_set(config: AnnotateConfig, change: dict[str, Any]) -> None:
    other = config.model_copy(update=change)
    assert label_store(other, make_plan(other.as_run())).name == label_store(config, make_plan(config.as_run())).name


def test_the_manifest_counts_what_is_stored(
    config: AnnotateConfig, actor: FakePool, reasoner: LatentReasoner, tmp_path: Path
) -> None:
    plan = make_plan(config.as_run())
    store = label_store(config, plan)
    fill(config, plan, store)
    manifest, counts = summarise(config, plan, store)
    assert (manifest.questions, manifest.mixed_questions) == (3, 1)
    assert (counts["all_right"], counts["all_wrong"], counts["failed_candidates"]) == (1, 1, 0)
    assert counts["completions"] == CANDIDATES * ROLLOUTS * (STEPS - 1)
    rows = [row for file in label_files(manifest) for row in read_labels(file).to_pylist()]
    assert counts["candidates"] == len(rows) == 3 * CANDIDATES
    assert counts["accuracy_of_candidates"] == np.mean([row["correct"] for row in rows])
    assert counts["flops"]["completions"] == sum(row["label_flops"] for row in rows) > 0
    prompts = sum(row["prompt_flops"] for row in rows) / CANDIDATES
    assert counts["flops"]["candidates"] == pytest.approx(prompts + sum(row["flops"] for row in rows))
    assert (manifest.hidden_size, manifest.latent_steps, manifest.candidates) == (
        reasoner.model.config.hidden_size,
        STEPS,
        CANDIDATES,
    )
    assert manifest.reasoner.fingerprint == plan.checkpoint.fingerprint
    manifest.save(tmp_path)
    assert LabelManifest.load(tmp_path) == manifest


def test_a_row_is_what_was_labelled(reasoner: LatentReasoner, asked: tuple[Problem, ...]) -> None:
    rows = label(reasoner, asked)
    table = label_table(rows, asked, 7, CANDIDATES, ROLLOUTS)
    for field in LABEL_SCHEMA:
        assert table.schema.field(field.name).type == field.type
    found = table.to_pylist()
    assert [(row["question_index"], row["sample_index"]) for row in found] == [
        (question, sample) for question in (7, 8, 9) for sample in range(CANDIDATES)
    ]
    for row, labelled in zip(found, rows, strict=True):
        assert row["answer_ids"] == list(labelled.trajectory.answer_ids)
        assert (row["answer"], row["correct"]) == (labelled.trajectory.answer, labelled.trajectory.correct)
    for row, labelled in zip(found[:CANDIDATES], rows, strict=False):
        assert labelled.labels is not None
        assert labelled.trajectory.latents is not None
        assert row["labels"] == labelled.labels.tolist()
        expected = labelled.trajectory.latents.astype(np.float16).ravel()
        np.testing.assert_array_equal(np.array(row["latents"], dtype=np.float16), expected)
        assert row["labels"][-1] == row["correct"]
    # Where nothing tells right from wrong there is nothing to learn, and latents would only fill the store.
    assert {(row["latents"] is None, row["labels"] is None) for row in found[CANDIDATES:]} == {(True, True)}


def test_a_failed_candidate_is_a_row_without_labels(asked: tuple[Problem, ...]) -> None:
    failed = LabelledBatch.failed(asked[0].question_id, CANDIDATES, "IndexError: no")
    for row in label_table(failed, asked[:1], 0, CANDIDATES, ROLLOUTS).to_pylist():
        assert (row["error"], row["labels"], row["latents"], row["correct"]) == ("IndexError: no", None, None, False)
        assert row["answer_ids"] == []


def test_a_dry_run_says_what_is_missing_and_writes_nothing(config: AnnotateConfig, tmp_path: Path) -> None:
    file = tmp_path / "annotate.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    before = sorted(tmp_path.rglob("*"))
    said = io.StringIO()
    annotate_from_config(str(file), [], tmp_path / "out", True, Console(file=said, width=200))
    assert f"to label    {3 * CANDIDATES} of {3 * CANDIDATES} candidates" in said.getvalue()
    assert sorted(tmp_path.rglob("*")) == before
