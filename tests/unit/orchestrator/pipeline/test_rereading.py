"""What the store holds under another reading is read anew: no model, no cluster, nothing lost."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.answers.extractors import after_last_hash
from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.pipeline import rereading
from orchestrator.pipeline.rereading import reread, rereadable
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from workers.tables import BEAM_COLUMNS, SCORE_SCHEMA

SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")
OLD = replace(SPEC, reading={"graders": {"numeric": {"version": 7}}})
NEW = replace(SPEC, reading={"graders": {"numeric": {"version": 8}}})
PROBLEMS = tuple(Problem(f"q{index}", "?", str(index)) for index in range(6))
STEPS, WIDTH = 2, 3


def text_of(question: int, sample: int) -> str:
    """Even samples say which question it is, odd ones something else, and some nothing at all."""
    return f"### {question}" if sample % 2 == 0 else ("no idea" if sample % 3 == 0 else f"### {question + 10}")


def trajectory(question: int, sample: int) -> Trajectory:
    """What an older reading said of it: nothing could be read, and all of it was wrong."""
    if (question, sample) == (1, 1):
        return Trajectory.failed(PROBLEMS[question], sample, "RuntimeError: no")
    latents = np.full((STEPS, WIDTH), question + sample / 8, dtype=np.float32)
    text = text_of(question, sample)
    return Trajectory(f"q{question}", sample, text, "old", False, STEPS, 4, (1, sample), latents, 1.0, 2.0, 0.5)


def table_of(shard: Shard, latents: str = "none", beam: bool = False) -> pa.Table:
    rows = [
        trajectory(question, sample)
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]
    table = trajectory_table(rows, shard.first_question, shard.samples, latents)
    values = {"step_scores": [[0.5]] * len(rows), "score": [0.25] * len(rows)}
    for name in BEAM_COLUMNS if beam else ():
        table = table.append_column(name, pa.array(values.get(name, [1.0] * len(rows))))
    return table


def fill(store: TrajectoryStore, *shards: Shard) -> TrajectoryStore:
    store.prepare()
    for shard in shards:
        store.write(shard, table_of(shard, store.latents, store.spec.beam is not None))
    return store


@pytest.fixture(params=["path", "uri"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return f"{tmp_path}/store" if request.param == "path" else f"file://{tmp_path}/store"


def trial_of(root: str, spec: TrajectorySpec = NEW, samples: int = 4, latents: str = "none") -> Trial:
    return Trial("name", "gaussian", samples, (samples,), TrajectoryStore(root, spec, latents))


def read_anew(trial: Trial, problems: Sequence[Problem] = PROBLEMS) -> int:
    before = trial.coverage(len(problems))
    after = reread(trial, before, problems, after_last_hash)
    # What it says is there is there.
    found = trial.coverage(len(problems))
    np.testing.assert_array_equal(after.sampled, found.sampled)
    if found.scored is not None:
        np.testing.assert_array_equal(after.scored, found.scored)
    return before.missing - after.missing


def expected(questions: int, samples: int) -> pd.DataFrame:
    """The same rows, read by the rule that holds now."""
    rows = table_of(Shard(0, questions, 0, samples)).to_pandas()
    rows["answer"] = rows["answer_text"].map(after_last_hash).where(rows["error"].isna(), None)
    rows["correct"] = rows["answer"] == rows["question_index"].astype(str)
    return rows


def same(read: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(read[list(wanted)].astype(object), wanted.astype(object), check_dtype=False)


def test_a_shard_of_another_reading_is_read_anew(root: str) -> None:
    old = fill(TrajectoryStore(root, SPEC), Shard(0, 4, 0, 2), Shard(0, 4, 2, 4), Shard(4, 6, 0, 4))
    trial = trial_of(root)
    assert not trial.store.covered(6, 4).any()
    assert rereadable(trial, trial.coverage(6)).rows == 24
    assert read_anew(trial) == 24
    same(trial.store.read(6, 4), expected(6, 4))
    # What was there stays there, as it was, for those who read it so.
    assert set(old.read(6, 4)["answer"].dropna()) == {"old"}
    assert trial.store.shards() == old.shards()
    described = json.loads((Path(trial.store.directory) / "spec.json").read_text())
    assert described["reading"] == NEW.reading


def test_there_is_nothing_to_do_a_second_time(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(TrajectoryStore(root, SPEC), Shard(0, 6, 0, 4))
    trial = trial_of(root)
    assert read_anew(trial) == 24

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a shard was read")

    monkeypatch.setattr(rereading, "read_answers", refuse)
    assert (read_anew(trial), rereadable(trial, trial.coverage(6)).rows) == (0, 0)


def test_nothing_is_read_where_nothing_is_there(root: str, tmp_path: Path) -> None:
    trial = trial_of(root)
    assert (read_anew(trial), rereadable(trial, trial.coverage(6)).rows) == (0, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("held", "wanted"), [(SPEC, NEW), (OLD, NEW), (NEW, SPEC)], ids=["first", "older", "back"])
def test_any_reading_is_made_from_any_other(root: str, held: TrajectorySpec, wanted: TrajectorySpec) -> None:
    fill(TrajectoryStore(root, held), Shard(0, 6, 0, 4))
    assert read_anew(trial_of(root, wanted)) == 24


@pytest.mark.parametrize("change", [{"seed": 1}, {"task": "u"}, {"extras": {"code": {"sampler": {"version": 2}}}}])
def test_other_trajectories_are_never_taken(root: str, change: dict[str, Any]) -> None:
    fill(TrajectoryStore(root, replace(SPEC, **change)), Shard(0, 6, 0, 4))
    assert read_anew(trial_of(root)) == 0


def test_several_readings_together_give_what_each_has(root: str) -> None:
    fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 4))
    fill(TrajectoryStore(root, OLD), Shard(0, 4, 0, 2))
    fill(TrajectoryStore(root, NEW), Shard(5, 6, 0, 4))
    trial = trial_of(root)
    assert rereadable(trial, trial.coverage(6)).rows == 2 * 4 + 2 * 2
    assert read_anew(trial) == 12
    assert int(trial.store.covered(6, 4).sum()) == 16
    assert len(trial.store.read(6, 4)) == 16


def test_it_can_be_interrupted_after_any_shard(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(TrajectoryStore(root, SPEC), *(Shard(index, index + 1, 0, 4) for index in range(6)))
    trial, left = trial_of(root), [3]
    plain = rereading.read_answers

    def until(*arguments: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return plain(*arguments)

    monkeypatch.setattr(rereading, "read_answers", until)
    with pytest.raises(KeyboardInterrupt):
        read_anew(trial)
    assert int(trial.store.covered(6, 4).sum()) == 12
    monkeypatch.undo()
    assert read_anew(trial) == 12
    same(trial.store.read(6, 4), expected(6, 4))


def test_two_at_once_write_the_same(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one starts when the first one is in the middle, and ends before it."""
    fill(TrajectoryStore(root, SPEC), Shard(0, 3, 0, 4), Shard(3, 6, 0, 4))
    trial, nested = trial_of(root), [True]
    plain = rereading.read_answers

    def while_another_one_does_it(*arguments: Any) -> Any:
        if nested[0]:
            nested[0] = False
            assert read_anew(trial_of(root)) == 24
        return plain(*arguments)

    monkeypatch.setattr(rereading, "read_answers", while_another_one_does_it)
    assert read_anew(trial) == 24
    same(trial.store.read(6, 4), expected(6, 4))
    assert trial.store.shards() == [Shard(0, 3, 0, 4), Shard(3, 6, 0, 4)]


def test_questions_behind_a_limit_are_left_for_later(root: str) -> None:
    """Those who do not ask them cannot judge them."""
    fill(TrajectoryStore(root, SPEC), Shard(0, 4, 0, 4), Shard(4, 6, 0, 4))
    trial = trial_of(root)
    assert read_anew(trial, PROBLEMS[:2]) == 8
    assert trial.store.shards() == [Shard(0, 2, 0, 4)]
    assert read_anew(trial) == 16
    same(trial.store.read(6, 4), expected(6, 4))


def test_samples_beyond_those_asked_for_come_along(root: str) -> None:
    fill(TrajectoryStore(root, SPEC), Shard(0, 6, 0, 4), Shard(0, 6, 4, 8))
    trial = trial_of(root, samples=2)
    assert rereadable(trial, trial.coverage(6)).rows == 12
    assert read_anew(trial) == 12
    assert trial.store.shards() == [Shard(0, 6, 0, 4)]


@pytest.mark.parametrize(("held", "wanted", "found"), [("float32", "float16", 24), ("none", "float16", 0)])
def test_latents_come_along_as_precise_as_they_are(root: str, held: str, wanted: str, found: int) -> None:
    fill(TrajectoryStore(root, SPEC, held), Shard(0, 6, 0, 4))
    trial = trial_of(root, latents=wanted)
    assert rereadable(trial, trial.coverage(6)).rows == found
    assert read_anew(trial) == found
    precise = TrajectoryStore(root, NEW, "float32")
    assert int(precise.covered(6, 4).sum()) == found
    for row in precise.read(6, 4).itertuples():
        wanted_latents = trajectory(int(row.question_index), int(row.sample_index)).latents
        assert (row.latents is None) == (wanted_latents is None)
        if wanted_latents is not None:
            np.testing.assert_array_equal(row.latents, wanted_latents.ravel())


def test_a_search_keeps_its_scores(root: str) -> None:
    beam = BeamShape(4, 2, "rm", "float32")
    fill(TrajectoryStore(root, replace(SPEC, beam=beam)), Shard(0, 6, 0, 4))
    trial = trial_of(root, replace(NEW, beam=beam))
    assert read_anew(trial) == 24
    rows = trial.store.read(6, 4)
    same(rows.drop(columns=list(BEAM_COLUMNS)), expected(6, 4))
    assert set(rows["score"]) == {0.25}
    # A search is no sampling, and the other way round.
    assert read_anew(trial_of(root)) == 0


def score_rows(shard: Shard, values: list[float]) -> pa.Table:
    places = [
        {"question_id": f"q{question}", "question_index": question, "sample_index": sample, "score": value}
        for (question, sample), value in zip(
            product(range(shard.first_question, shard.end_question), range(shard.first_sample, shard.end_sample)),
            values,
            strict=True,
        )
    ]
    return pa.Table.from_pylist(places, schema=SCORE_SCHEMA)


def test_scores_of_a_latent_rm_are_copied(root: str) -> None:
    specs = [ScoreSpec("rm", "float32", False, "float16"), ScoreSpec("other", "float32", False, "float16")]
    old = fill(TrajectoryStore(root, SPEC, "float16"), Shard(0, 3, 0, 4), Shard(3, 6, 0, 4))
    scores = ScoreStore(old, specs[0])
    scores.prepare()
    values = [number / 16 for number in range(12)]
    shard = Shard(0, 3, 0, 4)
    scores.write(shard, score_rows(shard, values))
    for spec, unscored in zip(specs, (12, 24), strict=True):
        trial = trial_of(root, latents="float16")
        scored = replace(trial, scored=Scored(ScoreStore(trial.store, spec)))
        if spec is specs[0]:
            assert int(rereadable(scored, scored.coverage(6)).unscored.sum()) == unscored
            assert read_anew(scored) == 24
        assert scored.scored is not None
        assert sum(shard.rows for shard in scored.coverage(6, 4).unscored(3, 4)) == unscored
        found = scored.scored.store.read(6, 4)
        assert list(found.get("score", [])) == (values if spec is specs[0] else [])


def test_scores_are_copied_although_it_was_interrupted_before_them(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ScoreSpec("rm", "float32", False, "float16")
    old = fill(TrajectoryStore(root, SPEC, "float16"), Shard(0, 6, 0, 4))
    scores = ScoreStore(old, spec)
    scores.prepare()
    scores.write(Shard(0, 6, 0, 4), pa.table({"question_index": [0], "sample_index": [0], "score": [0.5]}))
    trial = trial_of(root, latents="float16")
    trial = replace(trial, scored=Scored(ScoreStore(trial.store, spec)))

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rereading, "_copy_scores", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_anew(trial)
    monkeypatch.undo()
    assert trial.store.covered(6, 4).all()
    found = rereadable(trial, trial.coverage(6))
    assert (found.rows, int(found.unscored.sum())) == (0, 0)
    assert read_anew(trial) == 0
    assert trial.coverage(6, 4).unscored(6, 4) == []


def test_a_store_that_cannot_be_written_is_said(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(TrajectoryStore(root, SPEC), Shard(0, 6, 0, 4))

    def unwritable(self: TrajectoryStore) -> None:
        raise UserError("store.path: cannot be written")

    monkeypatch.setattr(TrajectoryStore, "prepare", unwritable)
    with pytest.raises(UserError, match="cannot be written"):
        read_anew(trial_of(root))
