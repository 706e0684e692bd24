"""The stage that searches, with an actor that answers at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from latent_core.search.beam import Beam
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.pipeline import search_stage
from orchestrator.pipeline.rollouts import work_item
from orchestrator.pipeline.search_stage import BEAM_COLUMNS, Search
from orchestrator.pipeline.stages import Persist
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, TrajectorySpec, TrajectoryStore
from workers.records import trajectory_schema
from workers.requests import PlannedCode, SearchRequest

SHAPE = BeamShape(2, 3, "rm", "bfloat16")
SPEC = TrajectorySpec("c", "t", {"kind": "none"}, 2, 4, 7, "float32", SHAPE)
PROBLEMS = tuple(Problem(f"q{index}", f"question {index}?", "1") for index in range(4))


def beams_of(problem: Problem) -> list[Beam]:
    if problem.question_id == "q3":
        return [Beam.failed(problem, rank, 2, "RuntimeError: no") for rank in range(2)]
    latents = np.ones((2, 3), dtype=np.float32)
    return [
        Beam(
            Trajectory(problem.question_id, rank, "1", "1", rank == 0, 2, 1, (5,), latents, 1.0, 2.0, 0.1),
            np.array([1.5, -rank], dtype=np.float32),
            6.0,
            4.0,
        )
        for rank in range(2)
    ]


class FakePool:
    """Answers every search at once."""

    asked: list[SearchRequest]

    def __init__(self) -> None:
        self.asked = []

    def call(self, method: str, request: SearchRequest, preferred: int) -> list[Beam]:
        assert method == "search"
        self.asked.append(request)
        return [beam for problem in request.problems for beam in beams_of(problem)]


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    made = FakePool()
    monkeypatch.setattr(search_stage, "actor_pool", lambda names: made)
    return made


def search(tmp_path: Path, latents: str = "none") -> tuple[TrajectoryStore, pa.Table]:
    store = TrajectoryStore(str(tmp_path), SPEC, latents)
    store.prepare()
    items = pa.Table.from_pylist([work_item(0, Shard(2, 4, 0, 2), PROBLEMS)])
    return store, Search(("one",), store, SHAPE, "/models/rm")(items)


@pytest.mark.parametrize("latents", ["none", "float16"])
def test_the_actor_is_asked_for_what_the_setting_says(actor: FakePool, tmp_path: Path, latents: str) -> None:
    search(tmp_path, latents)
    assert actor.asked == [
        SearchRequest(
            problems=PROBLEMS[2:4],
            sampler={"kind": "none"},
            beams=2,
            candidates=3,
            scorer="/models/rm",
            scorer_dtype="bfloat16",
            latent_steps=2,
            answer_tokens=4,
            seed=7,
            keep_latents=latents != "none",
            code=PlannedCode({}, {}),
        )
    ]


def test_beams_are_trajectories_with_their_scores(actor: FakePool, tmp_path: Path) -> None:
    store, table = search(tmp_path)
    assert table.schema.names == [*trajectory_schema().names, *BEAM_COLUMNS]
    receipt: Any = Persist(store, pass_on=False)(table)
    assert receipt.to_pylist() == [{"rows": 4, "correct": 1, "errors": 2, "unparsable": 0, "cut": 0}]
    rows = store.read(4, 2)
    assert rows["question_index"].tolist() == [2, 2, 3, 3]
    assert rows["sample_index"].tolist() == [0, 1, 0, 1]
    assert rows["score"].tolist()[:2] == [1.5, 0.5]
    # What failed has no score; NaN would be taken for one.
    assert rows["score"].isna().tolist() == [False, False, True, True]
    assert table["score"].null_count == 2
    assert rows["step_scores"][1].tolist() == [1.5, -1.0]
    assert rows["score_flops"].tolist() == [6.0, 6.0, 0.0, 0.0]
    assert rows["score_prompt_flops"].tolist() == [4.0, 4.0, 0.0, 0.0]
