"""The stages of the pipeline, with actors that answer at once; the actors themselves are tested with Ray."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table, work_block

from latent_core.reward.types import QuestionToScore, Score, ScoreBatch
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.pipeline import stages
from orchestrator.pipeline.blocks import WorkItem, problems_of
from orchestrator.pipeline.stages import CallActor, Load, Persist, SampleRequests, ScoreRequests
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from workers.requests import PlannedCode, SampleRequest, ScoreRequest
from workers.tables import questions_to_score, score_table

SPEC = TrajectorySpec("c", "t", {"kind": "none"}, 2, 4, 0, "float32")
WIDTH = 3
COUNTS = {"rows": 4, "correct": 1, "errors": 1, "unparsable": 0, "cut": 0}
"""What the driver hears of `SHARD`."""
PROBLEMS = tuple(Problem(f"q{index}", f"question {index}?", "1", grader="numeric") for index in range(9))


def trajectory(question: int, sample: int, steps: int = 2) -> Trajectory:
    """A trajectory whose latents tell which one it is; one of them failed."""
    if (question, sample) == (8, 2):
        return Trajectory.failed(PROBLEMS[question], sample, "RuntimeError: no")
    latents = np.full((steps, WIDTH), (10 * question + sample) / 7, dtype=np.float32)
    right = sample % 2 == 0
    return Trajectory(f"q{question}", sample, "1", "1", right, steps, 2, (sample, 0), latents, 1.0, 2.0, 0.1)


def table_of(shard: Shard, latents: str = "none") -> pa.Table:
    rows = [
        trajectory(question, sample)
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]
    return trajectory_table(rows, shard.first_question, shard.samples, latents)


SHARD = Shard(7, 9, 2, 4)
ITEM = WorkItem(5, SHARD)


def block_of(shard: Shard, latents: str = "none") -> pa.Table:
    """The rows of a shard as they travel."""
    return WorkItem(5, shard).label(table_of(shard, latents))


@pytest.fixture
def store(tmp_path: Path) -> TrajectoryStore:
    return store_with(tmp_path, "none")


def store_with(tmp_path: Path, latents: str) -> TrajectoryStore:
    made = TrajectoryStore(str(tmp_path), SPEC, latents)
    made.prepare()
    return made


class FakePool:
    """Answers a call like a pool of actors."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.asked: list[Any] = []
        self.methods: list[str] = []
        self.preferred: list[int] = []
        self._answer = answer

    def call(self, method: str, request: Any, preferred: int) -> Any:
        self.methods.append(method)
        self.asked.append(request)
        self.preferred.append(preferred)
        return self._answer(request)


@pytest.fixture
def actor_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], Any]], FakePool]:
    """Put actors with a given answer behind the stages."""

    def put(answer: Callable[[Any], Any]) -> FakePool:
        pool = FakePool(answer)

        def found(names: tuple[str, ...]) -> FakePool:
            assert names == ("one", "two")
            return pool

        monkeypatch.setattr(stages, "actor_pool", found)
        return pool

    return put


def generate(store: TrajectoryStore) -> CallActor:
    return CallActor(("one", "two"), "sample", SampleRequests(store.spec, store.latents))


def score(store: TrajectoryStore, scores: ScoreStore, block: pa.Table) -> pa.Table:
    """Score trajectories as a run does it."""
    requests = ScoreRequests(tuple(problem.question for problem in PROBLEMS), "float16", scores.spec.score_answer)
    counted = Persist(store, pass_on=True)(block)
    return Persist(scores)(CallActor(("one", "two"), "score", requests)(counted))


def test_a_shard_is_stored_and_only_its_receipt_goes_on(store: TrajectoryStore) -> None:
    receipt = Persist(store)(block_of(SHARD))
    assert receipt.to_pylist() == [{"rows": 4, "correct": 1, "errors": 1, "unparsable": 0, "cut": 0}]
    assert store.shards() == [SHARD]
    assert store.read(9, 4)["question_id"].tolist() == ["q7", "q7", "q8", "q8"]


def test_where_scorers_follow_the_shard_itself_goes_on_once_it_is_stored(tmp_path: Path) -> None:
    store, table = store_with(tmp_path, "float16"), table_of(SHARD, "float16")
    passed = Persist(store, pass_on=True)(ITEM.label(table))
    assert passed.equals(table)
    assert store.shards() == [SHARD]
    assert WorkItem.of(passed) == replace(ITEM, counts=COUNTS)


def test_what_is_stored_does_not_say_how_it_travelled(store: TrajectoryStore) -> None:
    """A shard has the same bytes however it came."""
    Persist(store)(block_of(SHARD))
    assert store.table(SHARD, "none").schema.metadata is None


def test_the_actor_is_told_for_which_code_a_setting_was_planned(tmp_path: Path, actor_that: Any) -> None:
    extras, reading = {"code": {"sampler": {"source": "ab"}}}, {"graders": {"text": {"version": 2}}}
    actor = actor_that(lambda request: table_of(SHARD))
    generate(TrajectoryStore(str(tmp_path), replace(SPEC, extras=extras, reading=reading)))(
        work_block(0, SHARD, PROBLEMS)
    )
    assert actor.asked[0].code == PlannedCode(extras, reading)


def test_what_is_not_a_whole_shard_is_not_stored(store: TrajectoryStore) -> None:
    """Its file name would claim trajectories that are not in it."""
    for pass_on in (True, False):
        with pytest.raises(ValueError, match="a block of 3 rows is not the whole shard"):
            Persist(store, pass_on)(block_of(SHARD).slice(0, 3))
    assert store.shards() == []


def test_an_actor_is_asked_for_what_the_item_says(tmp_path: Path, actor_that: Any) -> None:
    def sample(request: SampleRequest) -> pa.Table:
        end_question, end_sample = (
            request.first_question + len(request.problems),
            request.first_sample + request.samples,
        )
        shard = Shard(request.first_question, end_question, request.first_sample, end_sample)
        return table_of(shard, request.latents)

    actor = actor_that(sample)
    table = generate(store_with(tmp_path, "float16"))(work_block(5, SHARD, PROBLEMS))
    assert table.equals(table_of(SHARD, "float16"))
    [request] = actor.asked
    assert request == SampleRequest(PROBLEMS[7:9], 2, 2, {"kind": "none"}, 2, 4, 0, 7, "float16", PlannedCode({}, {}))
    assert WorkItem.of(table) == ITEM
    for number, shard in enumerate((Shard(0, 1, 0, 1), SHARD)):
        generate(store_with(tmp_path, "none"))(work_block(number, shard, PROBLEMS))
    assert [request.latents for request in actor.asked[1:]] == ["none", "none"]
    assert actor.preferred == [5, 0, 1]
    assert set(actor.methods) == {"sample"}


@pytest.mark.parametrize("stored", ["float16", "float32"])
@pytest.mark.parametrize("wanted", ["float16", "float32"])
def test_what_is_in_the_store_is_loaded_as_if_it_had_just_been_sampled(
    tmp_path: Path, stored: str, wanted: str
) -> None:
    # Borders of other runs, and more than is asked for.
    for shard in (Shard(6, 8, 0, 5), Shard(8, 9, 0, 3), Shard(8, 9, 3, 5)):
        store_with(tmp_path, stored).write(shard, table_of(shard, stored))
    if (stored, wanted) == ("float16", "float32"):
        assert not store_with(tmp_path, wanted).covered(9, 5).any()
        return
    loaded = Load(store_with(tmp_path, wanted))(work_block(5, SHARD, PROBLEMS))
    fresh = table_of(SHARD, wanted)
    assert loaded.schema.equals(fresh.schema)
    assert loaded.to_pylist() == fresh.to_pylist()
    assert WorkItem.of(loaded) == replace(ITEM, counts=COUNTS)


def scorer(request: ScoreRequest) -> pa.Table:
    """Gives every trajectory the sum of its latents."""
    scores = [
        Score.failed("the trajectory failed")
        if latents is None
        else Score(latents.astype(np.float32).sum(axis=1), 0.5 if request.score_answer else None, 1.0, 2.0, 3.0, 0.1)
        for one in asked_of(request)
        for latents in one.latents
    ]
    return score_table(request.trajectories, ScoreBatch.of(scores))


def asked_of(request: ScoreRequest) -> tuple[QuestionToScore, ...]:
    return questions_to_score(request.trajectories, request.samples, request.questions, request.latents)


@pytest.mark.parametrize("score_answer", [True, False])
def test_scores_are_stored_beside_their_trajectories(tmp_path: Path, actor_that: Any, score_answer: bool) -> None:
    store, actor = store_with(tmp_path, "float16"), actor_that(scorer)
    scores = ScoreStore(store, ScoreSpec("rm", "float32", score_answer, "float16"))
    scores.prepare()
    receipt = score(store, scores, block_of(SHARD, "float16"))
    assert receipt.to_pylist() == [{"rows": 4, "correct": 1, "errors": 1, "unparsable": 0, "cut": 0}]
    [request] = actor.asked
    assert request.score_answer == score_answer
    assert request.questions == ("question 7?", "question 8?")
    assert (request.samples, request.latents) == (2, "float16")
    assert Path(scores.directory).parent == Path(store.directory)
    assert scores.shards() == [SHARD]
    rows = scores.read(9, 4)
    expected = [2 * WIDTH * float(np.float16(number / 7)) for number in (72, 73, 82, 83)]
    assert rows["score"].tolist() == [
        pytest.approx(value) if place != 2 else pytest.approx(np.nan, nan_ok=True)
        for place, value in enumerate(expected)
    ]
    assert rows["answer_score"].notna().tolist() == [score_answer, score_answer, False, score_answer]
    assert rows["score_error"].fillna("").tolist() == ["", "", "the trajectory failed", ""]


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_fresh_and_loaded_trajectories_get_the_same_scores(tmp_path: Path, actor_that: Any, stored: str) -> None:
    """Whatever precision the store happens to hold, the scorer reads the one that the setting says."""
    actor = actor_that(scorer)
    store_with(tmp_path, stored).write(SHARD, table_of(SHARD, stored))
    store = store_with(tmp_path, "float16")
    scores = ScoreStore(store, ScoreSpec("rm", "float32", True, "float16"))
    scores.prepare()
    for block in (block_of(SHARD, "float16"), Load(store)(work_block(5, SHARD, PROBLEMS))):
        score(store, scores, block)
    fresh, loaded = map(asked_of, actor.asked)
    assert fresh[0].answer_ids == loaded[0].answer_ids
    for one, other in zip(fresh, loaded, strict=True):
        for a, b in zip(one.latents, other.latents, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_part_of_a_shard_is_not_scored(tmp_path: Path, actor_that: Any) -> None:
    store, actor = store_with(tmp_path, "float16"), actor_that(scorer)
    requests = ScoreRequests(tuple(problem.question for problem in PROBLEMS), "float16", True)
    with pytest.raises(ValueError, match="is not the whole shard"):
        CallActor(("one", "two"), "score", requests)(block_of(SHARD, "float16").slice(1))
    assert actor.asked == []
    assert store.shards() == []


def test_a_work_item_carries_its_questions_whole() -> None:
    block = work_block(5, SHARD, PROBLEMS)
    assert problems_of(block) == PROBLEMS[7:9]
    assert WorkItem.of(block) == ITEM


def test_a_block_that_does_not_say_its_shard_is_refused(store: TrajectoryStore) -> None:
    with pytest.raises(ValueError, match="a block of 4 rows does not say of which shard it is"):
        Persist(store)(table_of(SHARD))
