"""The worker as a plain object: Ray adds nothing but where it runs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.reward.model import LatentRewardModel
from latent_core.samplers import parse_sampler
from latent_core.search.beam_search import beam_search
from latent_core.tasks.base import Problem
from workers.reasoner import ReasonerWorker
from workers.requests import AnnotateRequest, PlannedCode, SampleRequest, SearchRequest
from workers.tables import beam_table, label_table, trajectory_schema, trajectory_table

GAUSSIAN = {"kind": "gaussian", "sigma": 0.4}


@pytest.fixture(scope="module")
def worker(tiny_checkpoint: Path) -> Iterator[ReasonerWorker]:
    threads = torch.get_num_threads()
    yield ReasonerWorker(str(tiny_checkpoint), "float32", 1)
    torch.set_num_threads(threads)


def request(problems: tuple[Problem, ...], **changes: Any) -> SampleRequest:
    settings: dict[str, Any] = {
        "first_sample": 3,
        "samples": 2,
        "sampler": GAUSSIAN,
        "latent_steps": 2,
        "answer_tokens": 4,
        "seed": 1,
        **changes,
    }
    return SampleRequest(problems, **settings)


def content(table: pa.Table) -> list[dict[str, Any]]:
    """Everything but the time that it took."""
    return table.drop_columns(["seconds"]).to_pylist()


def test_a_request_is_what_the_engine_samples(
    worker: ReasonerWorker, tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]
) -> None:
    found = worker.sample(request(problems, first_question=5, latents="float32"))
    expected = sample_trajectories(
        tiny_reasoner, parse_sampler(GAUSSIAN), problems, range(3, 5), latent_steps=2, answer_tokens=4, seed=1
    )
    table = trajectory_table(expected, 5, 2, "float32")
    assert found.schema.equals(table.schema)
    assert content(found.drop_columns(["latents"])) == content(table.drop_columns(["latents"]))
    for row, other in zip(found["latents"].to_pylist(), table["latents"].to_pylist(), strict=True):
        np.testing.assert_allclose(row, other, atol=1e-5)


def test_latents_that_are_stored_in_half_precision_are_those_of_full_precision_rounded(
    worker: ReasonerWorker, problems: tuple[Problem, ...]
) -> None:
    half = worker.sample(request(problems, latents="float16"))
    full = worker.sample(request(problems, latents="float32"))
    assert half.schema.equals(trajectory_schema("float16"))
    assert content(half.drop_columns(["latents"])) == content(full.drop_columns(["latents"]))
    for row, other in zip(half["latents"].to_pylist(), full["latents"].to_pylist(), strict=True):
        np.testing.assert_array_equal(np.array(row, np.float16), np.array(other, np.float32).astype(np.float16))


def test_latents_stay_behind_unless_they_are_wanted(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    assert "latents" not in worker.sample(request(problems)).schema.names


def test_a_question_that_fails_takes_no_other_with_it(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    """A prompt beyond the model's positions breaks the batch that it is in."""
    too_long = Problem("long", "ann " * 200, "1")
    rows = content(worker.sample(request((*problems[:2], too_long, *problems[2:]))))
    assert [(row["question_id"], row["question_index"], row["sample_index"]) for row in rows] == [
        (name, index, sample)
        for index, name in enumerate(("question-0", "question-1", "long", "question-2", "question-3"))
        for sample in (3, 4)
    ]
    healthy = content(worker.sample(request(problems)))
    for row, other in zip(rows[:4] + rows[6:], healthy, strict=True):
        assert {**row, "question_index": None} == {**other, "question_index": None}
    for row in rows[4:6]:
        assert row["error"] is not None
        assert "\n" not in row["error"]
        assert (row["answer"], row["correct"]) == (None, False)


def test_a_worker_is_idle_after_success_and_failure(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    assert worker.queue_depth() == 0
    worker.sample(request(problems))
    worker.sample(request((Problem("long", "ann " * 200, "1"),)))
    assert worker.queue_depth() == 0


def test_a_bug_is_not_turned_into_rows(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    with pytest.raises(TypeError):
        worker.sample(request(problems, latent_steps="two"))
    assert worker.queue_depth() == 0


def test_a_search_is_what_beam_search_finds(
    worker: ReasonerWorker,
    tiny_reasoner: LatentReasoner,
    tiny_reward_checkpoint: Path,
    tiny_reward_model: LatentRewardModel,
    problems: tuple[Problem, ...],
) -> None:
    asked = search_request(problems, tiny_reward_checkpoint, first_question=5, latents="float32")
    found = worker.search(asked)
    expected = beam_search(
        tiny_reasoner,
        tiny_reward_model,
        parse_sampler(GAUSSIAN),
        problems,
        2,
        3,
        latent_steps=2,
        answer_tokens=4,
        seed=1,
    )
    table = beam_table(expected, 5, 2, "float32")
    assert found.schema.equals(table.schema)
    inexact = ["latents", "step_scores", "score"]
    assert content(found.drop_columns(inexact)) == content(table.drop_columns(inexact))
    for name in inexact:
        for one, other in zip(found[name].to_pylist(), table[name].to_pylist(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    again = worker.search(search_request(problems, tiny_reward_checkpoint, first_question=5))
    assert content(again) == content(found.drop_columns(["latents"]))


def test_a_search_that_fails_for_one_question_goes_on_for_the_others(
    worker: ReasonerWorker, tiny_reward_checkpoint: Path, problems: tuple[Problem, ...]
) -> None:
    too_long = Problem("long", "ann " * 200, "1")
    beams = content(worker.search(search_request((problems[0], too_long, problems[1]), tiny_reward_checkpoint)))
    assert [(beam["question_id"], beam["sample_index"]) for beam in beams] == [
        (name, rank) for name in ("question-0", "long", "question-1") for rank in (0, 1)
    ]
    assert [beam["error"] is None for beam in beams] == [True, True, False, False, True, True]
    assert np.isnan(beams[2]["step_scores"]).all()
    assert [beam["score"] is None for beam in beams] == [False, False, True, True, False, False]


def test_a_latent_rm_that_cannot_be_loaded_is_no_questions_fault(
    worker: ReasonerWorker, tmp_path: Path, problems: tuple[Problem, ...]
) -> None:
    with pytest.raises(UserError, match="no such directory"):
        worker.search(search_request(problems, tmp_path / "nowhere"))
    assert worker.queue_depth() == 0


def test_annotation_is_what_annotate_labels(
    worker: ReasonerWorker, tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]
) -> None:
    asked = AnnotateRequest(problems, GAUSSIAN, candidates=4, rollouts=2, latent_steps=3, answer_tokens=4, seed=1)
    found = worker.annotate(asked)
    expected = annotate(tiny_reasoner, parse_sampler(GAUSSIAN), problems, 4, 2, latent_steps=3, answer_tokens=4, seed=1)
    table = label_table(expected, problems, 0, 4, 2)
    assert found.schema.equals(table.schema)
    assert found.drop_columns(["latents"]).to_pylist() == table.drop_columns(["latents"]).to_pylist()
    too_long = Problem("long", "ann " * 200, "1")
    rows = worker.annotate(replace(asked, problems=(too_long, problems[0]), first_question=7)).to_pylist()
    assert [row["question_id"] for row in rows] == ["long"] * 4 + ["question-0"] * 4
    assert [row["question_index"] for row in rows] == [7] * 4 + [8] * 4
    assert [(row["labels"], row["error"] is None) for row in rows[:4]] == [(None, False)] * 4
    alone = [{**row, "question_index": 8} for row in found.slice(0, 4).to_pylist()]
    assert [row["answer"] for row in rows[4:]] == [row["answer"] for row in alone]
    assert [row["flops"] for row in rows[4:]] == [row["flops"] for row in alone]


def search_request(problems: tuple[Problem, ...], scorer: Path, **changes: Any) -> SearchRequest:
    settings: dict[str, Any] = {
        "sampler": GAUSSIAN,
        "beams": 2,
        "branching": 3,
        "scorer": str(scorer),
        "scorer_dtype": "float32",
        "latent_steps": 2,
        "answer_tokens": 4,
        "seed": 1,
        **changes,
    }
    return SearchRequest(problems, **settings)


READING = {"graders": {"numeric": {"version": 2}}}
"""What plans say of the shipped readings."""


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (PlannedCode({"code": {"sampler": {"source": "ab"}}}, READING), "sampler"),
        (PlannedCode({}, {"graders": {"numeric": {"version": 9}}}), "grader numeric"),
        (
            PlannedCode({"code": {"format": {"version": 9}}}, READING | {"extractor": {"source": "ab"}}),
            "extractor, format",
        ),
    ],
)
def test_other_code_than_was_planned_is_refused(
    worker: ReasonerWorker, problems: tuple[Problem, ...], code: PlannedCode, parts: str
) -> None:
    """As on a node whose files are older: its rows would go under the name of others."""
    shared = {"sampler": GAUSSIAN, "latent_steps": 2, "answer_tokens": 4, "seed": 1, "code": code}
    search = SearchRequest(problems, beams=1, branching=2, scorer="none", scorer_dtype="float32", **shared)
    annotated = AnnotateRequest(problems, candidates=2, rollouts=1, **shared)
    calls = [
        lambda: worker.sample(request(problems, code=code)),
        lambda: worker.search(search),
        lambda: worker.annotate(annotated),
    ]
    for call in calls:
        with pytest.raises(UserError, match=f": here other code stands behind {parts} than where the run was planned"):
            call()


def test_the_code_that_was_planned_computes(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    plain = worker.sample(request(problems))
    own = PlannedCode({"prompt_opening": "<s>"}, READING | {"extractor": {"name": "last_number"}})
    assert content(worker.sample(request(problems, code=PlannedCode({}, READING)))) == content(plain)
    assert content(worker.sample(request(problems, code=own))) == content(plain)
