"""A run or a sweep as a whole: what it does where the store knows its trajectories under another reading."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from support import trajectory_table

from latent_core.answers.grading import GRADERS, Grader, find_grader
from latent_core.trajectory import Trajectory
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.config.loading import parse_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment import execution
from orchestrator.experiment.command_plans import plan_run
from orchestrator.experiment.dry_run import show_plan
from orchestrator.experiment.execution import ExperimentRun, carry_out
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.finalize import finalize, start_tracking
from orchestrator.jobs.run_status import run_status
from orchestrator.pipeline import cluster
from orchestrator.store.folder import ShardFolder
from orchestrator.store.shards import Shard
from orchestrator.store.trial import Trial
from workers.tables import SCORE_SCHEMA


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Registers version 2 of the numeric grader: the number behind the last "=" counts."""

    def register() -> None:
        numeric = GRADERS["numeric"]

        def canonical(text: str | None) -> str | None:
            return numeric.canonical((text or "").rpartition("=")[2])

        newer = Grader(canonical, numeric.is_correct, fits_any_data=True, version=2)
        monkeypatch.setitem(GRADERS._entries, "numeric", newer)
        find_grader.cache_clear()

    yield register
    monkeypatch.undo()
    find_grader.cache_clear()


@pytest.fixture
def planned(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Experiment]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": f"ann has {number} pens ?", "answer": number} for number in (3, 4)]))
    content = {
        "checkpoint": str(tiny_checkpoint),
        "task": {"path": str(data)},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "budgets": [1, 2, 4],
        "store": {"path": str(tmp_path / "store")},
    }

    def plan(out: str = "mine", **changes: Any) -> Experiment:
        return plan_run("mine", parse_config(RunConfig, {**content, **changes}), tmp_path / out)

    return plan


def sample(experiment: Experiment, trial: Trial, samples: int) -> None:
    """All samples say "2 = the reference": nothing that version 1 could read."""
    rows = [
        Trajectory(one.question_id, number, f"# 2 = {one.answer}", None, False, 6, 3, (), None, 1.0, 2.0, 0.1)
        for one in experiment.plan.problems
        for number in range(samples)
    ]
    trial.store.prepare()
    trial.store.write(Shard(0, 2, 0, samples), trajectory_table(rows, 0, samples))


def refuse(*arguments: Any, **others: Any) -> None:
    raise AssertionError("something was sampled")


def said(experiment: Experiment) -> tuple[int, str]:
    words = io.StringIO()
    to_do = show_plan(experiment, experiment.coverage(), Console(file=words, width=120), with_cost=False)
    return to_do, words.getvalue()


def test_what_earlier_builds_have_stored_is_found(tmp_path: Path) -> None:
    """These are the folders into which 0.1.0 has written."""
    config = {
        "checkpoint": "bundled:coconut-paths",
        "task": {"name": "path_finding", "limit": 12},
        "budgets": [1, 4],
        "answer_tokens": 8,
        "scorer": {"checkpoint": "bundled:latent-rm-tiny"},
        "search": {"kind": "beam", "beams": [2], "candidates": 2, "prune_from": 1},
        "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
        "store": {"path": str(tmp_path)},
    }
    greedy, sampled, search = plan_run("mine", parse_config(RunConfig, config), tmp_path / "mine").all_trials()
    assert (greedy.store.name, search.store.name) == ("176b0d26bad7148078c6", "d3c8b45b4c5e3340980e")
    assert sampled.scored is not None
    assert sampled.scored.store.name == "49fd5d342359b2c3d07e/scores-735ea5badba3401f8b69"


def test_greedy_latents_are_kept_with_those_of_others_and_asked_of_nobody(
    planned: Callable[..., Experiment], tiny_reward_checkpoint: Path
) -> None:
    plain = planned().sampled_trials()[0].store
    assert (plain.latents, plain.kept) == ("none", "none")
    scored = planned(scorer={"checkpoint": str(tiny_reward_checkpoint)})
    greedy, sampled = scored.sampled_trials()
    assert (greedy.store.latents, greedy.store.kept) == ("none", "float16")
    assert (sampled.store.latents, sampled.store.kept) == ("float16", "float16")
    # What an earlier build has sampled without them counts, and the plan says what is missing.
    sample(scored, greedy, 1)
    assert scored.coverage()[greedy.name].sampled.all()
    assert "greedy decoding is in the store without latents, and stays as it is" in said(scored)[1]
    for number in range(2):
        row = Trajectory(f"{number}", 0, "", None, False, 1, 1, (), np.zeros((1, 2), np.float16), 0.0, 0.0, 0.0)
        greedy.store.write(Shard(number, number + 1, 0, 1), trajectory_table([row], number, 1, "float16"))
    coverage = scored.coverage()[greedy.name]
    assert coverage.shards_with_latents() == [Shard(0, 1, 0, 1), Shard(1, 2, 0, 1)]
    assert not coverage.lacks_latents
    assert "without latents" not in said(scored)[1]


def test_a_run_with_a_newer_grader_samples_nothing_and_is_judged_by_it(
    planned: Callable[..., Experiment],
    rule: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = planned("old")
    for trial in before.all_trials():
        sample(before, trial, trial.samples)
    assert said(before)[0] == 0
    assert "to re-read" not in said(before)[1]
    before.out.mkdir()
    save_config(before.plan.config, before.out / "config.yaml")
    before.record()

    rule()
    monkeypatch.setattr(cluster, "connect", refuse)
    after = planned("new")
    assert before.trials[0].store.name != after.trials[0].store.name
    to_do, words = said(after)
    assert to_do == 0
    assert "to re-read" in words
    assert "10 trajectories are in the store under another reading" in words
    console = io.StringIO()
    carry_out(after, refuse, Console(file=console, width=120))
    assert "read anew: 10 trajectories" in console.getvalue()
    assert "everything is in the store: nothing to sample or to score" in console.getvalue()
    assert {row.value for row in read_curves_csv(after.out / "curves.csv") if row.aggregation == "coverage"} == {1.0}
    assert said(after)[0] == 0
    assert "to re-read" not in said(after)[1]

    # The old run directory goes on to say what it said.
    status = run_status(before.out)
    assert (status.done, status.wanted) == (10, 10)
    assert [one.unparsable for one in status.trials] == [2, 8]
    assert [one.unparsable for one in run_status(after.out).trials] == [0, 0]
    capsys.readouterr()


def test_what_is_missing_under_every_reading_is_to_be_sampled(
    planned: Callable[..., Experiment], rule: Callable[[], None]
) -> None:
    before = planned()
    sample(before, before.trials[0], 1)
    rule()
    to_do, words = said(planned())
    # Greedy has two, and of eight samples two are there.
    assert to_do == 2 + 6
    assert "2 trajectories are in the store under another reading" in words


class Children:
    """Stands for an open MLflow run of a sweep: it is told of every setting."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def start_child(self, name: str, params: Any, tags: Any) -> None:
        self.names.append(name)


def test_a_setting_that_a_searcher_chooses_is_read_anew_too(
    planned: Callable[..., Experiment], rule: Callable[[], None]
) -> None:
    before = planned()
    sample(before, before.trials[0], 4)
    rule()
    after = planned()
    after.out.mkdir()
    [trial], tracker = after.trials, Children()
    assert trial.coverage(2).missing == 8
    nothing: Any = None
    tracks: Any = tracker
    running = ExperimentRun(replace(after, trials=(), trial_limit=5), nothing, nothing, tracks, nothing, False, 0)
    running.add(trial)
    assert tracker.names == [trial.name]
    assert (running.missing, trial.coverage(2).missing) == (0, 0)


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders of the store that have been listed, in order."""
    names: list[str] = []
    entries = ShardFolder._entries

    def listed(folder: ShardFolder) -> Any:
        names.append(folder.name)
        return entries(folder)

    monkeypatch.setattr(ShardFolder, "_entries", listed)
    return names


@pytest.mark.parametrize("scored", [False, True])
def test_each_folder_is_listed_once_before_the_sampling_and_once_after_it(
    planned: Callable[..., Experiment],
    tiny_reward_checkpoint: Path,
    listings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scored: bool,
) -> None:
    """A fresh run; reports list a folder again each time they read it."""
    changes = {"scorer": {"checkpoint": str(tiny_reward_checkpoint)}} if scored else {}
    experiment = planned(**changes)
    folders = [trial.store.name for trial in experiment.all_trials()]
    folders += [trial.scored.store.name for trial in experiment.all_trials() if trial.scored]
    counts: dict[str, Counter[str]] = {}

    def sample_all(*_: Any) -> ExperimentRun:
        counts["before"] = Counter(listings)
        listings.clear()
        for trial in experiment.all_trials():
            sample(experiment, trial, trial.samples)
            if trial.scored is not None:
                trial.scored.store.prepare()
                trial.scored.store.write(Shard(0, 2, 0, trial.samples), scores(2, trial.samples))
        nothing: Any = None
        tracker = start_tracking(experiment, Console(quiet=True))
        return ExperimentRun(experiment, nothing, nothing, tracker, nothing, False, 10)

    def counted_until_reports_are_made(*arguments: Any, **others: Any) -> None:
        counts["behind"] = Counter(listings)
        finalize(*arguments, **others)

    monkeypatch.setattr("orchestrator.experiment.finalize.finalize", counted_until_reports_are_made)
    monkeypatch.setattr(execution, "_sample_missing", sample_all)
    carry_out(experiment, refuse, Console(quiet=True))
    assert counts["before"] == Counter(folders)
    assert counts["behind"] == Counter(folders)
    capsys.readouterr()


def scores(questions: int, samples: int) -> pa.Table:
    rows = [
        {"question_id": f"q{q}", "question_index": q, "sample_index": i, "score": 0.5, "score_flops": 1.0}
        for q in range(questions)
        for i in range(samples)
    ]
    return pa.Table.from_pylist(rows, schema=SCORE_SCHEMA)
