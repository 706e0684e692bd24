"""The stage that searches, with an actor that answers at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import work_block

from latent_core.search.beam import BeamBatch
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory, TrajectoryBatch
from orchestrator.pipeline import stages
from orchestrator.pipeline.stages import CallActor, Persist, SearchRequests
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, TrajectorySpec, TrajectoryStore
from workers.requests import PlannedCode, SearchRequest
from workers.tables import BEAM_COLUMNS, beam_table, trajectory_schema

SHAPE = BeamShape(2, 3, "rm", "bfloat16", prune_from=2)
SPEC = TrajectorySpec("c", "t", {"kind": "none"}, 2, 4, 7, "float32", SHAPE)
PROBLEMS = tuple(Problem(f"q{index}", f"question {index}?", "1") for index in range(4))


def beams_of(problem: Problem) -> BeamBatch:
    if problem.question_id == "q3":
        return BeamBatch.failed("q3", 2, 2, "RuntimeError: no")
    latents = np.ones((2, 3), dtype=np.float32)
    rows = (
        Trajectory(problem.question_id, rank, "1", "1", rank == 0, 2, 1, (5,), latents, 1.0, 2.0, 0.1)
        for rank in range(2)
    )
    step_scores = np.array([[1.5, 0.0], [1.5, -1.0]], dtype=np.float32)
    return BeamBatch(TrajectoryBatch.of(rows), step_scores, np.full(2, 6.0), np.full(2, 4.0))


class FakePool:
    """Answers every search at once."""

    asked: list[SearchRequest]

    def __init__(self) -> None:
        self.asked = []

    def call(self, method: str, request: SearchRequest, preferred: int) -> pa.Table:
        assert method == "search"
        self.asked.append(request)
        batch = BeamBatch.concat([beams_of(problem) for problem in request.problems])
        return beam_table(batch, request.first_question, request.beams, request.latents)


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    made = FakePool()
    monkeypatch.setattr(stages, "actor_pool", lambda names: made)
    return made


def search(tmp_path: Path, latents: str = "none") -> tuple[TrajectoryStore, pa.Table]:
    store = TrajectoryStore(str(tmp_path), SPEC, latents)
    store.prepare()
    stage = CallActor(("one",), "search", SearchRequests(SPEC, SHAPE, "/models/rm", latents))
    return store, stage(work_block(0, Shard(2, 4, 0, 2), PROBLEMS))


@pytest.mark.parametrize("latents", ["none", "float16"])
def test_the_actor_is_asked_for_what_the_setting_says(actor: FakePool, tmp_path: Path, latents: str) -> None:
    search(tmp_path, latents)
    assert actor.asked == [
        SearchRequest(
            problems=PROBLEMS[2:4],
            sampler={"kind": "none"},
            beams=2,
            branching=3,
            scorer="/models/rm",
            scorer_dtype="bfloat16",
            latent_steps=2,
            answer_tokens=4,
            seed=7,
            first_question=2,
            latents=latents,
            code=PlannedCode({}, {}),
            kind="beam",
            prune_from=2,
            temperature=None,
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
