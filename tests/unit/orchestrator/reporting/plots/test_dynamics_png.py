"""The picture of the dynamics: panels for what is known, one look per setting, bars where they fit."""

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from orchestrator.analysis.curves import CurveRow
from orchestrator.analysis.dynamics_rows import DynamicsRow, TrialDynamics
from orchestrator.reporting.layout import trials
from orchestrator.reporting.plots import dynamics_png
from orchestrator.reporting.plots.dynamics_png import plot_dynamics_png

BARE = ("cosine_distance", "components_90")
FULL = (
    *BARE,
    "greedy_shift",
    "effective_thoughts",
    "variance_between_thoughts",
    "leaves_greedy_path",
    "right_of_leaving",
    "on_greedy_path",
    "right_on_path",
    "auc",
)


def made(name: str, measures: tuple[str, ...], steps: int = 3) -> TrialDynamics:
    rows = [
        DynamicsRow(name, "gaussian", measure, step, 0.1 * step, math.nan, math.nan, 5, 4)
        for measure in measures
        for step in range(1, steps + 1)
    ]
    return TrialDynamics(name, rows, width=8)


def curves(*names: str) -> list[CurveRow]:
    return [CurveRow(name, "gaussian", "coverage", 1, 0.5, 0.4, 0.6, 10, 1.0) for name in names]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    figures: list[Any] = []
    save = dynamics_png.save_figure

    def keep(figure: Any, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(dynamics_png, "save_figure", keep)
    return figures


def test_panels_are_those_of_what_is_known(tmp_path: Path, drawn: list[Any]) -> None:
    names = ("g 1", "g 2")
    for measures, panels in ((BARE, 2), (FULL, 7)):
        plot_dynamics_png([made(name, measures) for name in names], curves(*names), tmp_path / "d.png", "title")
        assert len(drawn[-1].axes) == panels
    assert imread(tmp_path / "d.png").shape[1] > 2000
    bars = next(axis for axis in drawn[-1].axes if axis.patches)
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["1", "2", "3", "never"]
    assert len(bars.patches) == 2 * 4


def test_of_many_settings_lines_take_the_place_of_bars(tmp_path: Path, drawn: list[Any]) -> None:
    names = [f"g {number}" for number in range(6)]
    plot_dynamics_png([made(name, FULL) for name in names], curves(*names), tmp_path / "d.png", "title")
    (figure,) = drawn
    assert len(figure.axes) == 8
    assert not any(axis.patches for axis in figure.axes)


def test_a_setting_has_the_looks_of_the_other_pictures_and_a_dash_of_its_own(tmp_path: Path, drawn: list[Any]) -> None:
    names = ("g 1", "g 2", "g 3")
    # Whatever the order in which trials have finished.
    plot_dynamics_png([made(name, BARE) for name in names[::-1]], curves(*names), tmp_path / "d.png", "title")
    lines = [line for line in drawn[0].axes[0].get_lines() if line.get_label() in names]
    assert [line.get_label() for line in lines] == list(names)
    assert [line.get_color() for line in lines] == [style.colour for style in trials(curves(*names))]
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 3


def test_trials_without_latents_and_single_steps_are_no_trouble(tmp_path: Path, drawn: list[Any]) -> None:
    dynamics = [TrialDynamics("g 1", missing=("no latents",)), made("g 2", FULL, steps=1)]
    plot_dynamics_png(dynamics, curves("g 1", "g 2"), tmp_path / "d.png", "title")
    assert {line.get_label() for line in drawn[0].axes[0].get_lines()} == {"g 2"}
