"""`latentswarm status`: how far a run is, from its directory and its store alone."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from rich.console import Console
from support import trajectory_table

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.cli import main
from orchestrator.commands.status import age_in_words, print_status, status_json
from orchestrator.experiment.run_directory import write_run_file
from orchestrator.jobs.run_status import ENDED_EARLY, FINISHED, UNFINISHED, run_status
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.state import SendState
from workers.tables import SCORE_SCHEMA

QUESTIONS = 3
PROBLEMS = tuple(Problem(f"q{index}", "?", str(index)) for index in range(QUESTIONS))
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run directory of four samples for each of three questions; nothing sampled yet."""
    directory = tmp_path / "runs" / "mine"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(f"checkpoint: some/model\nstore: {{path: {tmp_path}/store}}\n")
    (tmp_path / "store").mkdir()
    searched = replace(gaussian(tmp_path), searches=(beam(tmp_path),))
    write_run_file(directory, "run", "who", QUESTIONS, [greedy(tmp_path), searched])
    return directory


def greedy(tmp_path: Path) -> Trial:
    store = TrajectoryStore(str(tmp_path / "store"), replace(SPEC, sampler={"kind": "none"}))
    return Trial("greedy", "none", 1, (1,), store)


def gaussian(tmp_path: Path) -> Trial:
    store = TrajectoryStore(str(tmp_path / "store"), SPEC)
    scores = ScoreStore(store, ScoreSpec("rm", "float32", False, "none"))
    return Trial("gaussian sigma=0.4", "gaussian", 4, (1, 2, 4), store, Scored(scores))


def beam(tmp_path: Path) -> Trial:
    store = TrajectoryStore(str(tmp_path / "store"), replace(SPEC, beam=BeamShape(2, 2, "rm", "float32")))
    return Trial("gaussian sigma=0.4 beam 2x2", "gaussian", 2, (4,), store, scorer="/models/rm")


def sample(trial: Trial, shard: Shard, answer: Callable[[int, int], str | None] = lambda q, i: str(q)) -> None:
    """Store a shard; the answer "error" stands for a failure."""
    rows = []
    for index in range(shard.first_question, shard.end_question):
        problem = PROBLEMS[index]
        for number in range(shard.first_sample, shard.end_sample):
            given = answer(index, number)
            if given == "error":
                rows.append(Trajectory.failed(problem, number, "RuntimeError: x"))
            else:
                correct = problem.is_correct(given)
                row = Trajectory(problem.question_id, number, "", given, correct, 2, 3, (), None, 10.0, 5.0, 0.5)
                rows.append(row)
    trial.store.prepare()
    trial.store.write(shard, trajectory_table(rows, shard.first_question, shard.samples))


def score(trial: Trial, shard: Shard) -> None:
    assert trial.scored is not None
    rows: list[dict[str, Any]] = [
        {"question_id": f"q{index}", "question_index": index, "sample_index": number, "score": 1.0}
        for index in range(shard.first_question, shard.end_question)
        for number in range(shard.first_sample, shard.end_sample)
    ]
    trial.scored.store.prepare()
    trial.scored.store.write(shard, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))


def sample_all(tmp_path: Path) -> None:
    for trial in (greedy(tmp_path), gaussian(tmp_path), beam(tmp_path)):
        sample(trial, Shard(0, QUESTIONS, 0, trial.samples))
    score(gaussian(tmp_path), Shard(0, QUESTIONS, 0, 4))


def test_nothing_yet(out: Path) -> None:
    status = run_status(out)
    assert (status.command, status.checkpoint, status.questions) == ("run", "some/model", QUESTIONS)
    assert (status.state, status.done, status.wanted, status.last_written) == (UNFINISHED, 0, 3 + 12 + 6, None)
    assert [one.trial for one in status.trials] == ["greedy", "gaussian sigma=0.4", "gaussian sigma=0.4 beam 2x2"]
    assert status.remark is None


def test_half_way(out: Path, tmp_path: Path) -> None:
    sample(greedy(tmp_path), Shard(0, QUESTIONS, 0, 1))
    trial = gaussian(tmp_path)
    sample(trial, Shard(0, QUESTIONS, 0, 2), lambda q, i: ("0", None, "error")[q])
    sample(trial, Shard(0, 1, 2, 4))
    score(trial, Shard(0, QUESTIONS, 0, 1))
    [shard] = (tmp_path / "store").glob(f"{trial.store.spec.key}/q0000000-0000001_*.parquet")
    os.utime(shard, (2_000_000_000, 2_000_000_000))
    status = run_status(out)
    first, second, third = status.trials
    assert (first.ready, first.samples, first.stored, first.scored, first.share) == (1, 1, 3, None, 1.0)
    # One sample of every question is sampled and scored; what the third question answered twice has failed.
    assert (second.ready, second.samples, second.stored, second.wanted) == (1, 4, 8, 12)
    assert (second.scored, second.done, second.share) == (3, 3, 0.25)
    assert (second.failed, second.unparsable) == (2, 2)
    assert (third.stored, third.last_written) == (0, None)
    assert (status.done, status.state) == (6, UNFINISHED)
    assert status.last_written is not None
    assert status.last_written.timestamp() == 2_000_000_000


def test_a_run_is_finished_when_nothing_is_missing_and_its_results_are_there(out: Path, tmp_path: Path) -> None:
    sample_all(tmp_path)
    assert run_status(out).state == UNFINISHED
    (out / "summary.json").write_text('{"trials"')
    assert run_status(out).state == UNFINISHED
    (out / "summary.json").write_text('{"trials": []}')
    assert run_status(out).state == FINISHED


def test_a_scheduler_leaves_trajectories_out_and_a_later_command_takes_them_up(out: Path, tmp_path: Path) -> None:
    sample(gaussian(tmp_path), Shard(0, QUESTIONS, 0, 2))
    (out / "summary.json").write_text('{"trials": []}')
    os.utime(out / "config.yaml", (1000, 1000))
    assert run_status(out).state == ENDED_EARLY
    # The same command with a larger budget has been started since.
    os.utime(out / "config.yaml")
    os.utime(out / "summary.json", (1000, 1000))
    assert run_status(out).state == UNFINISHED


def tune_state(out: Path, status: str, name: str = "experiment_state-2026-01-02.json") -> None:
    (out / "tune").mkdir(exist_ok=True)
    trial = json.dumps({"config": {"setting": "gaussian sigma=0.4"}, "status": status})
    (out / "tune" / name).write_text(json.dumps({"trial_data": [[trial, "{}"]]}))


def test_what_tune_says(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune_state(out, "RUNNING", "experiment_state-2026-01-01.json")
    tune_state(out, "TERMINATED")
    assert [one.tune for one in run_status(out).trials] == [None, "terminated", None]
    sample(gaussian(tmp_path), Shard(0, QUESTIONS, 0, 2))
    assert main(["status", str(out)]) == 0
    assert "terminated" in capsys.readouterr().out
    # Only once the command is over does a trial without all of its samples have been stopped.
    (out / "summary.json").write_text('{"trials": []}')
    os.utime(out / "config.yaml", (1000, 1000))
    assert main(["status", str(out)]) == 0
    assert "stopped early" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", '{"trial_data": [["{}"]]}', '{"trial_data": 3}', "[]"])
def test_what_tune_keeps_for_itself_may_change(out: Path, content: str) -> None:
    (out / "tune").mkdir()
    (out / "tune" / "experiment_state-1.json").write_text(content)
    assert {one.tune for one in run_status(out).trials} == {None}


def test_the_table(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_all(tmp_path)
    assert main(["status", str(out)]) == 0
    output = capsys.readouterr().out
    assert "21 of 21 trajectories (100.0 %)" in output
    assert "unfinished: running, or interrupted" in output
    [line] = [line for line in output.splitlines() if line.startswith("gaussian sigma=0.4  ")]
    assert line.split()[2:8] == ["4/4", "12", "12", "12", "100.0", "0"]
    assert max(len(line) for line in output.splitlines()) <= 120
    assert not ray.is_initialized()


def test_for_programs(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample(greedy(tmp_path), Shard(0, QUESTIONS, 0, 1))
    assert main(["status", str(out), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["state"], content["done"], content["wanted"], content["command"]) == ("unfinished", 3, 21, "run")
    first, second, _ = content["trials"]
    assert (first["trial"], first["share"], first["ready"], first["scored"]) == ("greedy", 1.0, 1, None)
    assert 0 <= first["seconds_since"] < 600
    assert (second["last_written"], second["seconds_since"], second["scored"]) == (None, None, 0)


def test_what_mlflow_does_not_have_is_counted(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_status(out).tracking is None
    journal = Journal(out, "mine")
    for kind in ("start", "tags", "end"):
        journal.append(kind, "a")  # type: ignore[arg-type]
    assert main(["status", str(out)]) == 0
    assert "3 of 3 records wait to be sent" in capsys.readouterr().out
    state = SendState.load(out, "http://user:secret@host", "mine", journal.id)
    state.applied, state.aside = 3, {1: "the experiment has been deleted"}
    state.save(out)
    assert main(["status", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 records are set aside: the experiment has been deleted" in said
    assert "the same command sends them" in said
    assert main(["status", str(out), "--json"]) == 0
    tracking = json.loads(capsys.readouterr().out)["tracking"]
    aside = {"the experiment has been deleted": 1}
    assert tracking == {"uri": "http://***@host", "records": 3, "waiting": 0, "aside": aside}
    state.aside.clear()
    state.save(out)
    assert main(["status", str(out)]) == 0
    assert "MLflow" not in capsys.readouterr().out


def test_a_store_that_is_not_there_is_said(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_all(tmp_path)
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    assert main(["status", str(out)]) == 0
    assert "is not there as seen from" in capsys.readouterr().out


def test_a_store_that_cannot_be_read_is_one_line(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(greedy(tmp_path).store.directory) / Shard(0, QUESTIONS, 0, 1).file_name()).mkdir(parents=True)
    assert main(["status", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"store.path {tmp_path}/store: cannot be read" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (86400, "1 day ago"),
        (2e5, "2 days ago"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert age_in_words(seconds) == words


def test_wrong_directories(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "new").mkdir()
    (tmp_path / "runs" / "new" / "config.yaml").write_text("store: {path: x}\n")
    (tmp_path / "runs" / "new" / "run.json").write_text('{"format": 2, "latentswarm": "9.0"}')
    (tmp_path / "runs" / "labels").mkdir()
    (tmp_path / "runs" / "labels" / "config.yaml").write_text("candidates: 4\n")
    for path, message in (
        ("runs/mne", f"no such directory; did you mean {tmp_path}/runs/mine?"),
        ("nowhere/at/all", "no such directory"),
        ("runs/mine/config.yaml", "a file; name its run directory"),
        ("runs", "has no config.yaml; is it a run directory"),
        ("runs/new", "format 2, written by latentswarm 9.0"),
        ("runs/labels", "config.yaml: has no store.path"),
    ):
        assert main(["status", str(tmp_path / path)]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_it_imports_no_torch(out: Path) -> None:
    code = (
        "import sys; from orchestrator.cli import main; "
        f"main(['status', {str(out)!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_directory_that_does_not_say_what_was_sampled_is_refused(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "run.json").unlink()
    assert main(["status", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"latentswarm: {out}: has no run.json")
    assert error.count("\n") == 1


def test_cut_and_unreadable_answers_are_counted(out: Path, tmp_path: Path) -> None:
    trial = gaussian(tmp_path)
    ids = [(5, 6, 7, 8), (5, 6, 7, 8), (5, 6), (5, 6)]
    answers = ["1", None, None, "1"]
    limit = trial.store.spec.answer_tokens
    rows = [
        Trajectory("q0", number, "", answer, False, 2, limit if len(one) == 4 else 2, one, None, 1.0, 2.0, 0.1)
        for number, (answer, one) in enumerate(zip(answers, ids, strict=True))
    ]
    trial.store.prepare()
    new = trajectory_table([row._replace(cut=row.answer_tokens == limit) for row in rows], 0, 4)
    old = trajectory_table(rows, 0, 4).drop_columns("cut")
    for table in (new, old):
        trial.store.write(Shard(0, 1, 0, 4), table)
        [_, one, _] = run_status(out).trials
        assert (one.cut, one.unparsable) == (2, 1)
    stream = io.StringIO()
    print_status(run_status(out), Console(file=stream))
    assert "failed unparsable cut" in " ".join(stream.getvalue().split())
    # Where no answer ended early, an old store does not tell.
    trial.store.write(
        Shard(0, 1, 0, 4),
        trajectory_table([row._replace(answer_tokens=limit) for row in rows], 0, 4).drop_columns("cut"),
    )
    [_, one, _] = run_status(out).trials
    assert one.cut is None
    assert json.loads(status_json(run_status(out)))["trials"][1]["cut"] is None


def test_failures_that_are_tried_again_are_told_from_lasting_ones(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = greedy(tmp_path)
    errors = ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "ValueError: too long", None)
    rows = [
        Trajectory.failed(problem, 0, error)
        if error
        else Trajectory(problem.question_id, 0, "", "2", True, 2, 3, (), None, 10.0, 5.0, 0.5)
        for problem, error in zip(PROBLEMS, errors, strict=True)
    ]
    trial.store.prepare()
    trial.store.write(Shard(0, 3, 0, 1), trajectory_table(rows, 0, 1))
    status = run_status(out)
    assert (status.trials[0].failed, status.trials[0].transient) == (2, 1)
    assert json.loads(status_json(status))["trials"][0]["transient"] == 1
    assert main(["status", str(out)]) == 0
    said = capsys.readouterr().out
    assert "failed     1 trajectories for a passing reason: the same command tries them again\n" in said
    assert "failed     1 trajectories for good: the command with --retry-failed tries them again\n" in said
