"""A store and run directories as commit ce6be8d has written them: they go on to be read as they were written.

That commit knew no setting for answers that were cut off: they voted. None is cut off here, so that its counts are
today's. Its searches pruned from the first step on, and did not say so. Columns have been added behind its own since,
comparisons to its own, and intervals are estimated in another way.
"""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import ray
from rich.console import Console

from orchestrator.cli import main
from orchestrator.config.loading import load_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.dry_run import show_plan
from orchestrator.experiment.experiment import Experiment, missing

RECORDED = Path(__file__).parents[2] / "data" / "ce6be8d"
_INTERVALS = ["lo", "hi"]
Plan = Callable[[str, RunConfig, Path], Experiment]
COMMANDS = pytest.mark.parametrize(("command", "plan"), [("run", plan_run), ("sweep", plan_sweep)])


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both, from which commands are given as they were then: the path of the store is relative."""
    shutil.copytree(RECORDED, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def planned(command: str, plan: Plan, *overrides: str) -> Experiment:
    return plan(command, load_config(RunConfig, f"{command}.yaml", ["search.prune_from=1", *overrides]), Path(command))


@COMMANDS
def test_all_of_it_is_found(copy: Path, command: str, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", command, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    questions, trials = status["questions"], status["trials"]
    assert (status["command"], status["state"], status["share"]) == (command, "finished", 1.0)
    assert [one["trial"] for one in trials] == [one.name for one in planned(command, plan).all_trials()]
    assert [one["stored"] for one in trials] == [questions * one["samples"] for one in trials]


@COMMANDS
def test_reported_anew_its_numbers_are_what_they_were(
    copy: Path, command: str, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [file.name for file in (RECORDED / command).glob("*.csv")]
    assert {"curves.csv", "comparisons.csv", "difficulty.csv", "questions.csv"} <= set(names)
    for name in names:
        (copy / command / name).unlink()
    assert main(["report", command]) == 0
    capsys.readouterr()
    assert not ray.is_initialized()
    for name in names:
        before, now = (pd.read_csv(place / command / name) for place in (RECORDED, copy))
        assert list(now.columns)[: len(before.columns)] == list(before.columns)
        if name == "comparisons.csv":
            key = ["trial", "aggregation", "baseline", "n"]
            now = before[key].merge(now[now["kind"] == "aggregations"], how="left", on=key)
        same = [column for column in before.columns if column not in _INTERVALS]
        pd.testing.assert_frame_equal(now[same], before[same], check_exact=True)


@COMMANDS
def test_the_same_command_has_nothing_to_sample_and_goes_on_with_it(copy: Path, command: str, plan: Plan) -> None:
    experiment = planned(command, plan, "task.cut_answers=vote")
    coverage = experiment.coverage()
    assert missing(coverage) == 0
    words = io.StringIO()
    assert show_plan(experiment, coverage, Console(file=words, width=120), with_cost=False) == 0
    # What has become of cut answers then makes it the experiment of then, with its MLflow runs.
    assert experiment.is_resumed()
    assert not planned(command, plan).is_resumed()
