"""Additions: a plot, an objective, an aggregation and a sampler, one file each, are used without another change."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.registry import Registry
from latent_core.samplers import SAMPLERS
from latent_core.selection.aggregations import AGGREGATIONS
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.analysis.evaluation import Evaluation, evaluate
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.objective import OBJECTIVES
from orchestrator.config.run import RunConfig
from orchestrator.reporting.artifacts import ARTIFACTS, Report, write_artifacts
from orchestrator.reporting.layout import panels, title
from orchestrator.reporting.run_files import write_files
from orchestrator.reporting.tables import render
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial

ADDITIONS = {
    "latent_core.selection.aggregations": '''
from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, pass_at_n


@register_aggregation(title="first answer (mine)", look=Look("#123456", "x"))
def first_answer(outcomes: Outcomes, n: int) -> FloatArray:
    """Accuracy of the first sample, whatever n is."""
    return pass_at_n(outcomes.correct, min(1, n))
''',
    "latent_core.samplers": '''
from typing import ClassVar

from latent_core.samplers.base import Sampler, register_sampler


@register_sampler
class StillSampler(Sampler):
    """Changes nothing."""

    kind: ClassVar[str] = "still"
''',
    "orchestrator.analysis.objectives": '''
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.analysis.objectives.curves import CurveObjective
from orchestrator.config.objective import register_objective


@register_objective("gain")
@dataclass(frozen=True)
class Gain(CurveObjective):
    """How much the largest budget is better than the smallest."""

    forms: ClassVar[tuple[str, ...]] = ("gain(AGGREGATION)",)

    @classmethod
    def parse(cls, expression):
        return cls(expression.text, expression.aggregation(expression.argument))

    def of(self, points):
        return points[-1].value - points[0].value

    @property
    def label(self):
        return f"{self.text} (gain)"
''',
    "orchestrator.reporting.plots": """
from orchestrator.reporting.artifacts import register_artifact


@register_artifact("names.txt", lambda report: len(report.evaluation.trials) > 0)
def write_names(report, path):
    path.write_text(f"{report.title}: {[result.trial.name for result in report.evaluation.trials]}")
""",
}
REGISTRIES: dict[str, Registry[object]] = {
    "latent_core.selection.aggregations": AGGREGATIONS,  # type: ignore[dict-item]
    "latent_core.samplers": SAMPLERS,  # type: ignore[dict-item]
    "orchestrator.analysis.objectives": OBJECTIVES,  # type: ignore[dict-item]
    "orchestrator.reporting.plots": ARTIFACTS,  # type: ignore[dict-item]
}
TASK = Task("mine", tuple(Problem(f"q{index}", "?", str(index)) for index in range(3)))


@pytest.fixture(autouse=True)
def additions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put one file into the package of each registry, as if it lay there, and look for entries anew."""
    for package, source in ADDITIONS.items():
        registry = REGISTRIES[package]
        list(registry)
        folder = tmp_path / package
        folder.mkdir()
        (folder / "my_addition.py").write_text(source)
        module = importlib.import_module(package)
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_registered_by", dict(registry._registered_by))
        monkeypatch.setattr(registry, "_discovered", False)
    yield
    for package in ADDITIONS:
        sys.modules.pop(f"{package}.my_addition", None)


def trial_of(tmp_path: Path, sampler: str) -> Trial:
    """Four samples of three questions; the second one on are right."""
    spec = TrajectorySpec("c", "t", {"kind": sampler}, 2, 4, 0, "float32")
    store = TrajectoryStore(str(tmp_path / "store"), spec)
    store.prepare()
    rows = [
        Trajectory(problem.question_id, number, "", answer, problem.is_correct(answer), 2, 1, (), None, 1.0, 1.0, 0.1)
        for index, problem in enumerate(TASK.problems)
        for number in range(4)
        for answer in [str(index) if number else "99"]
    ]
    table: pa.Table = trajectory_table(rows, 0, 4)
    store.write(Shard(0, 3, 0, 4), table)
    return Trial(f"{sampler} x=1", sampler, 4, (1, 2, 4), store)


def test_one_file_each_is_found_and_used(tmp_path: Path) -> None:
    raw = {
        "checkpoint": "bundled:coconut-tiny",
        "task": {"path": "x.json"},
        "sampler": {"kind": "still"},
        "sweep": {"objective": "gain(first_answer)"},
    }
    config = parse_config(RunConfig, raw)
    assert config.sampler.describe() == "still"
    result = evaluate(trial_of(tmp_path, "still"), TASK)
    evaluation = Evaluation([result], TASK, (1, 2, 4), config.sweep.objectives)
    files = write_files(tmp_path, config, evaluation, {"task": "mine"})
    # The sampler: a trial of it is configured, written down and read again.
    assert load_config(RunConfig, tmp_path / "config.yaml").sampler.describe() == "still"
    # The aggregation: rows, a table under its title, a line in its colour.
    rows = read_curves_csv(tmp_path / "curves.csv")
    assert [row.value for row in rows if row.aggregation == "first_answer"] == [0.75, 0.75, 0.75]
    assert title("first_answer") == "first answer (mine)"
    assert "first answer (mine), % [95 % interval]" in render(rows)
    [line] = [line for panel in panels(rows) for line in panel.lines if line.label == "first answer (mine)"]
    assert (line.colour, line.marker) == ("#123456", "x")
    # The objective.
    assert pd.read_csv(tmp_path / "objectives.csv")["gain(first_answer)"].tolist() == [0.0]
    # The artifact, last among the files that come from the store.
    assert (tmp_path / "names.txt").read_text() == "bundled:coconut-tiny on mine: ['still x=1']"
    assert [file.name for file in files][-2:] == ["names.txt", "summary.json"]


def test_an_artifact_that_no_longer_applies_is_removed(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("old")
    config = parse_config(RunConfig, {"checkpoint": "x", "task": {"path": "x.json"}, "sampler": {"kind": "none"}})
    result = evaluate(trial_of(tmp_path, "still"), TASK)
    for results, there in (([result], True), ([], False)):
        report = Report("title", Evaluation(results, TASK, config.budgets))
        write_artifacts([ARTIFACTS["names.txt"]], report, tmp_path, report.content())
        assert (tmp_path / "names.txt").exists() == there
