"""The store: complete shards or nothing, every trajectory once, and a name for every setting."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support import trajectory_table

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.specs import (
    BeamShape,
    LabelSpec,
    LabelStore,
    ScoreSpec,
    ScoreStore,
    TrajectorySpec,
    TrajectoryStore,
)

SPEC = TrajectorySpec("checkpoint", "task", {"kind": "gaussian", "sigma": 0.4}, 6, 32, 0, "float32")
STEPS, WIDTH = 2, 3


def trajectory(question: int, sample: int) -> Trajectory:
    """A trajectory all of whose values tell which one it is."""
    if (question + sample) % 5 == 4:
        return Trajectory.failed(Problem(f"q{question}", "?", "1"), sample, "RuntimeError: no")
    number = question * 100 + sample
    latents = np.full((STEPS, WIDTH), number / 7, dtype=np.float32)
    answer = None if number % 3 == 0 else str(number)
    return Trajectory(
        f"q{question}", sample, f"### {number}", answer, number % 2 == 1, STEPS, 4, (1, number), latents, 1.0, 2.0, 0.5
    )


def table_of(shard: Shard, latents: str = "none") -> Any:
    rows = [
        trajectory(question, sample)
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]
    return trajectory_table(rows, shard.first_question, shard.samples, latents)


def fill(store: TrajectoryStore, *shards: Shard) -> TrajectoryStore:
    store.prepare()
    for shard in shards:
        store.write(shard, table_of(shard, store.latents))
    return store


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "deep" / "store")


def directory_of(store: TrajectoryStore) -> Path:
    return Path(store.directory)


def expected(questions: int, samples: int) -> pd.DataFrame:
    return table_of(Shard(0, questions, 0, samples)).to_pandas()


@pytest.mark.parametrize("latents", ["none", "float16", "float32"])
def test_what_was_written_is_read(root: str, latents: str) -> None:
    store = fill(TrajectoryStore(root, SPEC, latents), Shard(0, 2, 0, 3), Shard(2, 4, 0, 3))
    rows = store.read(4, 3)
    pd.testing.assert_frame_equal(rows.drop(columns="latents", errors="ignore"), expected(4, 3))
    assert ("latents" in rows) == (latents != "none")
    if latents != "none":
        for row in rows.itertuples():
            wanted = trajectory(int(row.question_index), int(row.sample_index)).latents
            if wanted is None:
                assert row.latents is None
            else:
                np.testing.assert_array_equal(row.latents, wanted.astype(latents).ravel())


def test_rows_come_in_order_whatever_order_they_were_written_in(root: str) -> None:
    store = fill(
        TrajectoryStore(root, SPEC), Shard(2, 3, 2, 4), Shard(0, 2, 2, 4), Shard(2, 3, 0, 2), Shard(0, 2, 0, 2)
    )
    pd.testing.assert_frame_equal(store.read(3, 4), expected(3, 4))


def test_part_of_it_can_be_read(root: str) -> None:
    store = fill(TrajectoryStore(root, SPEC), Shard(0, 4, 0, 4), Shard(4, 6, 0, 4))
    pd.testing.assert_frame_equal(store.read(3, 2), expected(3, 2))
    columns = ["answer", "error"]
    rows = store.read(6, 4, columns)
    assert list(rows) == ["question_index", "sample_index", *columns]
    pd.testing.assert_frame_equal(rows[columns], expected(6, 4)[columns])
    assert list(store.read(1, 1, ["sample_index", "correct"])) == ["question_index", "sample_index", "correct"]


def test_nothing_there_reads_as_no_rows(root: str) -> None:
    store = TrajectoryStore(root, SPEC)
    assert store.shards() == []
    assert not store.covered(3, 4).any()
    assert store.read(3, 4, ["answer"]).empty
    assert not Path(root).exists()


def test_shards_that_overlap_give_every_trajectory_once(root: str) -> None:
    """Two runs with different shard borders, or at the same time."""
    store = fill(
        TrajectoryStore(root, SPEC), Shard(0, 4, 0, 4), Shard(2, 6, 0, 3), Shard(0, 6, 2, 6), Shard(0, 4, 0, 4)
    )
    pd.testing.assert_frame_equal(store.read(6, 3), expected(6, 3))
    assert len(store.read(6, 6)) == int(store.covered(6, 6).sum())


def test_covered_is_what_the_names_say(root: str) -> None:
    store = fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 3), Shard(3, 4, 1, 5))
    wanted = np.zeros((4, 4), dtype=bool)
    wanted[0:2, 0:3] = wanted[3:4, 1:4] = True
    np.testing.assert_array_equal(store.covered(4, 4), wanted)
    np.testing.assert_array_equal(store.covered(1, 2), wanted[:1, :2])
    assert store.shards() == [Shard(0, 2, 0, 3), Shard(3, 4, 1, 5)]
    for shard in missing_shards(store.covered(5, 6), 2, 4):
        fill(store, shard)
    pd.testing.assert_frame_equal(store.read(5, 6), expected(5, 6))


def test_half_written_and_foreign_files_are_ignored(root: str) -> None:
    store = fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 2))
    for name in (
        f"{Shard(2, 4, 0, 2).file_name()}.0123abc.tmp",
        "notes.txt",
        ".DS_Store",
        f".{Shard(2, 4, 0, 2).file_name()}",
    ):
        (directory_of(store) / name).write_bytes(b"not parquet")
    assert store.shards() == [Shard(0, 2, 0, 2)]
    pd.testing.assert_frame_equal(store.read(4, 4), expected(2, 2))


def test_writing_leaves_nothing_temporary_behind(root: str) -> None:
    store = fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 2), Shard(0, 2, 0, 2))
    assert sorted(file.name for file in directory_of(store).iterdir()) == [Shard(0, 2, 0, 2).file_name(), "spec.json"]


def test_more_precision_serves_less_but_not_the_other_way_round(root: str) -> None:
    half = fill(TrajectoryStore(root, SPEC, "float16"), Shard(0, 2, 0, 2))
    plain, single = TrajectoryStore(root, SPEC), TrajectoryStore(root, SPEC, "float32")
    assert half.directory == plain.directory == single.directory
    assert plain.covered(2, 2).all()
    assert not single.covered(2, 2).any()
    fill(single, Shard(0, 2, 0, 2))
    assert half.covered(2, 2).all()
    pd.testing.assert_frame_equal(plain.read(2, 2).drop(columns="latents"), expected(2, 2))
    assert {len(row) for row in single.read(2, 2)["latents"]} == {STEPS * WIDTH}


def test_upgraded_rows_are_read_at_the_precision_asked_for(root: str) -> None:
    """A run that wants float32 must not be handed the float16 copy of the same trajectory."""
    fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 2))
    fill(TrajectoryStore(root, SPEC, "float16"), Shard(0, 2, 0, 2))
    rows = fill(TrajectoryStore(root, SPEC, "float32"), Shard(0, 2, 0, 2)).read(2, 2)
    assert len(rows) == 4
    for row in rows.itertuples():
        wanted = trajectory(int(row.question_index), int(row.sample_index)).latents
        assert wanted is not None
        np.testing.assert_array_equal(row.latents, wanted.ravel())


def test_a_shard_that_lacks_latents_does_not_count_where_they_are_wanted(root: str) -> None:
    fill(TrajectoryStore(root, SPEC), Shard(0, 2, 0, 2))
    wanting = TrajectoryStore(root, SPEC, "float16")
    assert not wanting.covered(2, 2).any()
    fill(wanting, Shard(0, 1, 0, 2))
    assert wanting.covered(2, 2).tolist() == [[True, True], [False, False]]
    assert wanting.read(2, 2)["latents"].notna().all()
    assert len(TrajectoryStore(root, SPEC).read(2, 2)) == 4


def test_a_uri_is_a_place_too(tmp_path: Path) -> None:
    by_uri = fill(TrajectoryStore(f"file://{tmp_path}/store/", SPEC), Shard(0, 2, 0, 2))
    by_path = TrajectoryStore(f"{tmp_path}/store", SPEC)
    assert by_uri.directory == by_path.directory
    assert by_path.shards() == [Shard(0, 2, 0, 2)]
    pd.testing.assert_frame_equal(by_uri.read(2, 2), expected(2, 2))


def test_a_relative_path_starts_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory_of(fill(TrajectoryStore("runs/store", SPEC))) == tmp_path / "runs" / "store" / SPEC.key


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match=r"store\.path nowhere://x"):
        TrajectoryStore("nowhere://x", SPEC).prepare()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"store\.path {tmp_path}/file: cannot be written"):
        TrajectoryStore(str(tmp_path / "file"), SPEC).prepare()


def test_a_setting_is_described_where_it_is_stored(root: str) -> None:
    store = fill(TrajectoryStore(root, SPEC))
    described = pd.read_json(directory_of(store) / "spec.json", typ="series").to_dict()
    assert described == {
        "version": 2,
        "checkpoint": "checkpoint",
        "task": "task",
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "latent_steps": 6,
        "answer_tokens": 32,
        "seed": 0,
        "dtype": "float32",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "other"},
        {"task": "other"},
        {"sampler": {"kind": "gaussian", "sigma": 0.40001}},
        {"sampler": {"kind": "gaussian", "sigma": 0.4, "relative": True}},
        {"latent_steps": 7},
        {"answer_tokens": 33},
        {"seed": 1},
        {"dtype": "bfloat16"},
    ],
)
def test_every_field_has_a_part_in_the_key(change: dict[str, Any]) -> None:
    assert replace(SPEC, **change).key != SPEC.key


def test_the_key_does_not_change() -> None:
    """A different key for the same setting would make everything that is stored invisible."""
    assert SPEC.key == "3313ec49e745f76707e0"
    assert replace(SPEC, sampler={"sigma": 0.4, "kind": "gaussian"}).key == SPEC.key


BEAM = BeamShape(beams=4, candidates=2, scorer="rm", scorer_dtype="float32")
SCORES = ScoreSpec("rm", "float32", True, "float16")
LABELS = LabelSpec(SPEC, candidates=16, rollouts=8, latents="float16")


@pytest.mark.parametrize("change", [{"beams": 5}, {"candidates": 3}, {"scorer": "x"}, {"scorer_dtype": "bfloat16"}])
def test_every_field_of_a_search_has_a_part_in_the_key(change: dict[str, Any]) -> None:
    searched = replace(SPEC, beam=BEAM)
    assert len({SPEC.key, searched.key, replace(SPEC, beam=replace(BEAM, **change)).key}) == 3


@pytest.mark.parametrize(
    "change", [{"scorer": "other"}, {"dtype": "bfloat16"}, {"score_answer": False}, {"latents": "float32"}]
)
def test_every_field_of_scores_has_a_part_in_the_key(change: dict[str, Any]) -> None:
    assert replace(SCORES, **change).key != SCORES.key


@pytest.mark.parametrize(
    "change", [{"candidates": 8}, {"rollouts": 4}, {"latents": "float32"}, {"trajectories": replace(SPEC, seed=1)}]
)
def test_every_field_of_labels_has_a_part_in_the_key(change: dict[str, Any]) -> None:
    assert replace(LABELS, **change).key != LABELS.key


def test_the_keys_of_what_belongs_to_trajectories_do_not_change() -> None:
    assert replace(SPEC, beam=BEAM).key == "a27bd8e49b92620cf875"
    assert SCORES.key == "6452568c21fb19713af0"
    assert LABELS.key == "166a62080f26fba6f6a7"


EXTRAS = {"code": {"sampler": {"version": 2}}, "prompt_opening": "<s>"}
READING = {"graders": {"numeric": {"version": 2}}}


def test_what_is_as_it_always_was_is_left_out() -> None:
    for spec in (SPEC, replace(SPEC, beam=BEAM), SCORES):
        assert not {"extras", "reading"} & set(spec.content)
    beam = replace(SPEC, beam=replace(BEAM, extras=EXTRAS))
    assert "extras" not in replace(SPEC, beam=BEAM).content["beam"]
    assert beam.content["beam"]["extras"] == EXTRAS
    assert len({SPEC.key, beam.key, replace(SPEC, beam=BEAM).key}) == 3
    assert replace(SCORES, extras=EXTRAS).key != SCORES.key


@pytest.mark.parametrize("change", [{"prune_from": 2}, {"kind": "smc"}, {"kind": "smc", "temperature": 2.0}])
def test_what_is_new_of_a_search_has_a_part_in_its_key(change: dict[str, Any]) -> None:
    before, now = replace(SPEC, beam=BEAM), replace(SPEC, beam=replace(BEAM, **change))
    assert now.key != before.key
    assert {name: now.content["beam"][name] for name in change} == change
    assert not {"kind", "prune_from", "temperature"} & set(before.content["beam"])


def test_whatever_else_determines_trajectories_has_a_part_in_the_key() -> None:
    other = replace(SPEC, extras=EXTRAS)
    assert other.content["extras"] == EXTRAS
    assert other.key != SPEC.key
    assert other.trajectories_key == other.key
    assert len(other.key) == 20
    assert replace(LABELS, trajectories=other).key != LABELS.key


def test_a_reading_has_a_part_of_the_name_for_itself() -> None:
    """So that folders of the same trajectories are found by their names."""
    read = replace(SPEC, reading=READING)
    assert read.key.startswith(f"{SPEC.key}-")
    assert read.trajectories_key == SPEC.trajectories_key == SPEC.key
    assert read.content["reading"] == READING
    assert replace(SPEC, reading={"extractor": {"name": "boxed"}}).key not in (read.key, SPEC.key)
    assert replace(LABELS, trajectories=read).key != LABELS.key


def test_relatives_are_the_other_readings_of_the_same_trajectories(root: str) -> None:
    read = replace(SPEC, reading=READING)
    third = replace(SPEC, reading={"extractor": {"name": "boxed"}})
    assert TrajectoryStore(root, read).relatives() == []
    for spec in (SPEC, read, third, replace(SPEC, seed=1), replace(SPEC, extras=EXTRAS), replace(SPEC, beam=BEAM)):
        TrajectoryStore(root, spec).prepare()
    LabelStore(root, LABELS).prepare()
    (Path(root) / f"{SPEC.key}-notes.txt").touch()
    for own in (SPEC, read, third):
        names = [relative.name for relative in TrajectoryStore(root, own).relatives()]
        assert names == sorted({SPEC.key, read.key, third.key} - {own.key})


def test_a_file_is_copied_whole_or_not_at_all(root: str) -> None:
    source = fill(TrajectoryStore(root, SPEC, "float32"), Shard(0, 2, 0, 2))
    target = TrajectoryStore(root, replace(SPEC, reading=READING), "float16")
    target.prepare()
    target.copy(Shard(0, 2, 0, 2), "float32", source)
    assert target.files() == source.files() == [(Shard(0, 2, 0, 2), "float32")]
    assert target.table(*target.files()[0]).equals(source.table(*source.files()[0]))
    assert sorted(file.name for file in directory_of(target).iterdir()) == sorted(
        file.name for file in directory_of(source).iterdir()
    )


def test_scores_lie_beside_their_trajectories_and_are_not_taken_for_them(root: str) -> None:
    store = TrajectoryStore(root, SPEC, "float16")
    scores = ScoreStore(store, SCORES)
    scores.prepare()
    assert Path(scores.directory) == directory_of(store) / f"scores-{SCORES.key}"
    scores.write(Shard(0, 2, 0, 2), table_of(Shard(0, 2, 0, 2)))
    assert scores.shards() == [Shard(0, 2, 0, 2)]
    assert store.shards() == []
    fill(store, Shard(0, 1, 0, 2))
    assert store.shards() == [Shard(0, 1, 0, 2)]
    others = ScoreStore(store, replace(SCORES, scorer="other"))
    assert others.shards() == []
    assert json.loads((Path(scores.directory) / "spec.json").read_text()) == SCORES.content


def test_labels_have_a_folder_of_their_own(root: str) -> None:
    labels = LabelStore(root, LABELS)
    labels.prepare()
    assert Path(labels.directory) == Path(root) / f"labels-{LABELS.key}"
    described = json.loads((Path(labels.directory) / "spec.json").read_text())
    assert described["labels"] == {"candidates": 16, "rollouts": 8, "latents": "float16"}
    assert described["trajectories"] == SPEC.content
