"""Pictures: they are written, complete, and need nothing from outside."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread

from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.adaptive_layout import adaptive_panels
from orchestrator.reporting.layout import trials
from orchestrator.reporting.plots.curves_html import plot_curves_html
from orchestrator.reporting.plots.curves_png import plot_curves_png

BUDGETS = (1, 2, 4, 8)


def make_rows() -> list[CurveRow]:
    """Two samplers under two aggregations with a budget too large, greedy, and guesses."""
    nan = float("nan")
    rows = [CurveRow("greedy", "none", "greedy", 1, 0.4, 0.35, 0.45, 10, 1e9)]
    for name in ("gaussian sigma=0.4", "gaussian sigma=0.1", "mc_dropout p=0.2"):
        for aggregation in ("coverage", "majority_vote"):
            rows += [
                CurveRow(
                    name, name.split()[0], aggregation, n, 0.2 + n / 20, 0.15 + n / 20, 0.25 + n / 20, 10 * n, 1e9 * n
                )
                for n in BUDGETS
            ]
            rows.append(CurveRow(name, name.split()[0], aggregation, 16, nan, nan, nan, 160, 1.6e10))
    rows += [CurveRow("random_guess", "random_guess", "random_guess", n, n / 100, 0, 0.1, 10 * n, 0) for n in BUDGETS]
    return rows


def test_png_has_print_resolution_and_grows_with_its_panels(tmp_path: Path) -> None:
    shapes = []
    for names in (["coverage"], ["coverage", "majority_vote"], [*"abcd"]):
        rows = [
            replace(row, aggregation=name) for name in names for row in make_rows() if row.aggregation == "coverage"
        ]
        plot_curves_png(rows, tmp_path / "curves.png", "title")
        picture = imread(tmp_path / "curves.png")
        assert picture[..., :3].std() > 0.01
        shapes.append(picture.shape)
    one, two, four = shapes
    assert one[1] >= 5 * 150
    # Two panels stand side by side, four in two rows.
    assert two[1] > 1.4 * one[1]
    assert four[1] == two[1]
    assert four[0] > 1.8 * two[0]


def test_html_holds_the_curves_the_switch_and_the_library(tmp_path: Path) -> None:
    path = tmp_path / "curves.html"
    plot_curves_html(make_rows(), path, "a <b> title")
    page = path.read_text(encoding="utf-8")
    for text in ("gaussian sigma=0.4", "mc_dropout p=0.2", "greedy", "random guess", "trajectories", "x: FLOPs"):
        assert text in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page), "the page must not load anything"
    assert len(page) > 1_000_000
    assert "NaN" not in page[page.rindex("Plotly.newPlot") :]


def test_all_panels_of_a_page_share_their_axes_and_switch_together(tmp_path: Path) -> None:
    rows = [replace(row, aggregation=name) for name in "abcde" for row in make_rows() if row.aggregation == "coverage"]
    plot_curves_html(rows, tmp_path / "curves.html", "title")
    page = (tmp_path / "curves.html").read_text(encoding="utf-8")
    call = page[page.rindex("Plotly.newPlot") :]
    for axis in "xy":
        names = set(re.findall(rf'"({axis}axis\d*)":\{{', call))
        matched = set(re.findall(rf'"({axis}axis\d*)":\{{[^{{}}]*"matches"', call))
        assert len(names) == 5
        # All follow the one that follows nobody.
        assert len(matched) == 4
    assert set(re.findall(r'"(xaxis\d*)\.title\.text":"FLOPs', call)) == set(re.findall(r'"(xaxis\d*)":\{', call))


def adaptive_rows(aggregation: str, how: str = "replayed") -> list[AdaptiveRow]:
    """A rule at two settings, on the better of two trials and on the other one."""
    return [
        AdaptiveRow(name, rule, aggregation, 8, n, n, n, 2, value, value, value, 0.3, *ends, 10, 1e9 * n, 1e9 * n, how)
        for name in ("gaussian sigma=0.1", "gaussian sigma=0.4")
        for rule, n, value, ends in (
            ("posterior", 6.5, 0.5, (0.2, 0.1, 0.3)),
            ("posterior confidence=0.6", 4.5, 0.4, (0.1, 0.0, 0.2)),
        )
    ]


def test_a_page_has_a_panel_of_what_rules_come_to(tmp_path: Path) -> None:
    rows = make_rows()
    plot_curves_html(rows, tmp_path / "without.html", "title", adaptive_rows("coverage", "online"))
    plot_curves_html(rows, tmp_path / "with.html", "title", adaptive_rows("coverage"))
    plain, page = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("without", "with"))
    call = page[page.rindex("Plotly.newPlot") :]
    assert "samples where they pay" in call
    # What was decided online is one point and no curve.
    assert "samples where they pay" not in plain
    assert len(set(re.findall(r'"(xaxis\d*)":\{', call))) == 3
    assert call.count('"x":[4.5,6.5]') >= 1
    # The switch changes each panel's own words back.
    assert re.findall(r'"xaxis3.title.text":"([^"]*)"', call) == [
        "mean samples per question",
        "FLOPs over all questions",
    ]
    assert re.findall(r'"xaxis.title.text":"([^"]*)"', call)[0] == "samples per question N"


def test_panels_of_rules_are_of_the_best_trial() -> None:
    rows = [*make_rows(), CurveRow("gaussian sigma=0.4", "gaussian", "coverage", 8, 0.9, 0.8, 1.0, 80, 8e9)]
    both = [*adaptive_rows("coverage"), *adaptive_rows("majority_vote"), *adaptive_rows("best_of_n", "online")]
    coverage, vote = adaptive_panels(both, rows)
    assert (coverage.aggregation, coverage.trial, vote.aggregation) == (
        "coverage",
        "gaussian sigma=0.4",
        "majority_vote",
    )
    assert [row.samples for row in coverage.rules["posterior"]] == [4.5, 6.5]
    assert {row.n for row in coverage.fixed} == {4, 8}


def test_equal_rows_give_equal_pages(tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        plot_curves_html(make_rows(), tmp_path / name, "title")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_settings_of_a_sampler_are_shades_in_the_order_of_their_numbers() -> None:
    small, large, dropout = trials(make_rows())
    assert [small.name, large.name, dropout.name] == ["gaussian sigma=0.1", "gaussian sigma=0.4", "mc_dropout p=0.2"]
    assert small.family == large.family != dropout.family
    brightness = [sum(bytes.fromhex(trial.colour[1:])) for trial in (small, large)]
    assert brightness[0] > brightness[1]


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["top_k k=10 p=0.9", "top_k k=2 p=1e-3", "top_k k=10 p=0.10"]
    rows = [CurveRow(name, "top_k", "coverage", 1, 0.5, 0.4, 0.6, 1, 1.0) for name in names]
    assert [trial.name for trial in trials(rows)] == [names[1], names[2], names[0]]


@pytest.mark.parametrize("plot", [plot_curves_png, plot_curves_html])
def test_greedy_alone_is_drawn_and_nothing_is_refused(
    plot: Callable[[Sequence[CurveRow], Path, str], None], tmp_path: Path
) -> None:
    plot([row for row in make_rows() if row.aggregation == "greedy"], tmp_path / "curves", "title")
    assert (tmp_path / "curves").stat().st_size > 1000
    with pytest.raises(ValueError, match="nothing to plot"):
        plot([], tmp_path / "curves", "title")
