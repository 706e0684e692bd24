"""`run.json`: what it holds, and what is said of one that is damaged or too new."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import latent_core
from latent_core.errors import UserError
from latent_core.selection.calibration import VoteCalibration
from orchestrator.experiment.run_directory import (
    GROUP_FILE,
    RUN_FILE,
    check_run_file,
    group_directories,
    read_run_file,
    write_group_file,
    write_run_file,
)
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial

SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 6, 8, 3, "float32")
STORE = "/somewhere/store"


@pytest.fixture
def trial() -> Trial:
    """A scored setting."""
    store = TrajectoryStore(STORE, SPEC, "float16")
    scores = ScoreStore(store, ScoreSpec("rm", "bfloat16", True, "float16"))
    scored = Scored(scores, VoteCalibration(temperature=0.5), VoteCalibration(weighting="sigmoid"))
    return Trial("gaussian sigma=0.4", "gaussian", 64, (1, 4, 64), store, scored)


@pytest.fixture
def search() -> Trial:
    """A beam search beside it."""
    store = TrajectoryStore(STORE, replace(SPEC, beam=BeamShape(4, 16, "rm", "float32")))
    return Trial("gaussian sigma=0.4 beam 4x16", "gaussian", 4, (64,), store, scorer="/models/rm")


def same(one: Trial, other: Trial) -> bool:
    """Whether two settings are one: stores are compared by what they hold and where."""
    plain = one.to_plain() == other.to_plain() and one.store.directory == other.store.directory
    if one.scored is None or other.scored is None:
        return plain and one.scored is other.scored
    return plain and one.scored.store.directory == other.scored.store.directory


def test_settings_of_other_code_and_other_readings_come_back_too(trial: Trial, search: Trial) -> None:
    extras = {"code": {"sampler": {"source": "ab"}}, "prompt_opening": "<s>"}
    reading = {"extractor": {"name": "boxed"}, "graders": {"numeric": {"version": 2}}}
    spec = replace(SPEC, extras=extras, reading=reading)
    store = TrajectoryStore(STORE, spec, "float16")
    scored = Scored(ScoreStore(store, ScoreSpec("rm", "float32", True, "float16", extras)))
    beam = replace(spec, beam=BeamShape(4, 16, "rm", "float32", extras))
    for one in (replace(trial, store=store, scored=scored), replace(search, store=TrajectoryStore(STORE, beam))):
        plain = json.loads(json.dumps(one.to_plain()))
        found = Trial.from_plain(plain, STORE)
        assert same(found, one)
        assert found.store.spec == one.store.spec


def test_settings_come_back_as_they_were(tmp_path: Path, trial: Trial, search: Trial) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    greedy = Trial("greedy", "none", 1, (1,), TrajectoryStore(STORE, replace(SPEC, sampler={"kind": "none"})))
    file = write_run_file(tmp_path, "sweep", "who", 300, [greedy, replace(trial, searches=(search,))])
    assert [one.name for one in tmp_path.iterdir()] == [file.name] == [RUN_FILE]
    record = read_run_file(tmp_path, STORE)
    assert record is not None
    assert (record.command, record.questions, record.latentswarm) == ("sweep", 300, latent_core.__version__)
    assert before <= record.started <= datetime.now(UTC)
    first, second = record.trials
    [third] = second.searches
    assert first.searches == third.searches == ()
    pairs = ((first, greedy), (replace(second, searches=()), trial), (third, search))
    assert all(same(*pair) for pair in pairs)
    assert second.scored is not None
    assert second.scored.calibration == VoteCalibration(temperature=0.5)
    assert third.store.spec == search.store.spec


def test_a_store_may_have_moved(trial: Trial) -> None:
    moved = Trial.from_plain(json.loads(json.dumps(trial.to_plain())), "/elsewhere")
    assert moved.store.directory == f"/elsewhere/{trial.store.spec.key}"
    assert moved.scored is not None
    assert moved.scored.store.directory.startswith(moved.store.directory)


def test_the_file_says_what_programs_look_for(tmp_path: Path, trial: Trial) -> None:
    write_run_file(tmp_path, "run", "who", 3, [trial])
    write_run_file(tmp_path, "run", "who", 5, [trial])
    content = json.loads((tmp_path / RUN_FILE).read_text())
    assert (content["format"], content["command"], content["questions"]) == (1, "run", 5)
    assert datetime.fromisoformat(content["started"]).tzinfo is not None


def test_a_directory_in_which_nothing_has_begun_has_no_such_file(tmp_path: Path) -> None:
    check_run_file(tmp_path)
    assert read_run_file(tmp_path, STORE) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2, "latentswarm": "9.1"}', "format 2, written by latentswarm 9.1; this is "),
        ('{"format": 7}', "written by latentswarm of unknown version"),
        ("{", "run.json: cannot be used (Expecting property name"),
        ("[]", "does not say which format it has"),
        ("{}", "does not say which format it has"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(UserError) as caught:
        check_run_file(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(content: dict[str, Any], how: str) -> None:
    if how == "lacks a key":
        del content["settings"][0]["samples"]
    elif how == "another store":
        content["settings"][0]["trajectories"]["version"] = 99
    elif how == "not a date":
        content["started"] = "yesterday"
    elif how == "unknown part":
        content["settings"][0]["trajectories"]["colour"] = "red"
    else:
        content["settings"][0]["scored"]["calibration"]["temperature"] = -1


@pytest.mark.parametrize("how", ["lacks a key", "another store", "not a date", "unknown part", "wrong calibration"])
def test_damage_inside_is_one_line_too(tmp_path: Path, trial: Trial, how: str) -> None:
    file = write_run_file(tmp_path, "run", "who", 3, [trial])
    content = json.loads(file.read_text())
    damaged(content, how)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="cannot be used") as caught:
        read_run_file(tmp_path, STORE)
    assert "\n" not in str(caught.value)


def test_the_directories_of_a_group_of_sweeps(tmp_path: Path) -> None:
    assert group_directories(tmp_path) == [tmp_path]
    write_group_file(tmp_path, {"a b": "a-b", "c": "c"})
    assert group_directories(tmp_path) == [tmp_path / "a-b", tmp_path / "c"]
    (tmp_path / GROUP_FILE).write_text("[]")
    with pytest.raises(UserError, match="cannot be used"):
        group_directories(tmp_path)
