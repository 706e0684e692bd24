"""Names that a medium would take for its own signs: pictures, Markdown, pages, CSV files and tables show text."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

from orchestrator.analysis.curves import CurvePoint, CurveRow
from orchestrator.analysis.difficulty import BINS, DifficultyRow
from orchestrator.analysis.pareto import Judged
from orchestrator.analysis.run_comparisons import RunPoints, compare_runs
from orchestrator.config.objective import parse_objective
from orchestrator.console import say
from orchestrator.progress.board import Snapshot, TrialProgress
from orchestrator.progress.text import trials_table
from orchestrator.reporting.compare_runs import ReportedRun, difference_table, summary_table, write_comparison
from orchestrator.reporting.escaping import in_html, in_latex, in_legend, in_markdown, without_formulas
from orchestrator.reporting.plots.curves_html import plot_curves_html
from orchestrator.reporting.plots.curves_png import plot_curves_png
from orchestrator.reporting.plots.difficulty_png import plot_difficulty_png
from orchestrator.reporting.plots.pareto_png import plot_pareto_png
from orchestrator.reporting.plots.png import new_figure
from orchestrator.reporting.tables import print_objectives, print_tables
from orchestrator.reporting.tables import summary_table as summary_of_run

# Each of them ends a command where it is taken for a formula, markup or the end of a cell.
NAMES = ["a$b$c", "cost $\\frac{1}$ or $x_", "a|b<script>`c`", "[/red] [bold", "_hidden_", 'x\ny,z;"q"']


def rows(name: str) -> list[CurveRow]:
    greedy = CurveRow("greedy", "none", "greedy", 1, 0.4, 0.3, 0.5, 10, 1e9)
    curves = [
        CurveRow(trial, trial, aggregation, n, 0.4, 0.3, 0.5, 10 * n, 1e9 * n)
        for trial in (name, f"{name} 2")
        for aggregation in ("coverage", "majority_vote")
        for n in (1, 4)
    ]
    return [greedy, *curves]


@pytest.mark.parametrize("name", [*NAMES[:2], "".join(NAMES[2:])])
def test_pictures_and_pages_show_names(tmp_path: Path, name: str) -> None:
    plot_curves_png(rows(name), tmp_path / "curves.png", name)
    plot_curves_png([row for row in rows(name) if row.trial in ("greedy", name)], tmp_path / "one.png", name)
    bins = [DifficultyRow(name, "coverage", n, BINS[0], 10, 0.4, 0.3, 0.5) for n in (1, 4)]
    plot_difficulty_png(bins, tmp_path / "difficulty.png", name)
    objectives = [parse_objective("coverage"), parse_objective("majority_vote")]
    judged = [Judged(name, (0.1, 0.2), best=True), Judged(f"{name} 2", (0.1, 0.1), best=False)]
    plot_pareto_png(judged, objectives, tmp_path / "pareto.png", name)
    plot_curves_html(rows(name), tmp_path / "curves.html", name)
    # As plotly writes text into the program of a page.
    assert (
        json.dumps(in_html(name)).replace("<", "\\u003c").replace(">", "\\u003e").replace("/", "\\u002f")
        in (tmp_path / "curves.html").read_text()
    )


def test_no_text_of_a_figure_is_a_formula() -> None:
    figure = new_figure(4, 3)
    axis = figure.subplots()
    axis.plot([1, 2], [1, 2], label="a$b$c")
    axis.set(title="$x$", xlabel="$y$")
    axis.set_xticks([1, 2], ["$1$", "$2$"])
    figure.suptitle("$z$")
    figure.legend()
    without_formulas(figure)
    texts = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert len(texts) >= 6
    assert not any(text.get_parse_math() for text in texts)


def test_a_name_that_begins_with_an_underscore_is_in_the_legend() -> None:
    assert (in_legend("_hidden"), in_legend("gaussian")) == (" _hidden", "gaussian")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mc_dropout p=0.1", "mc_dropout p=0.1"),
        ("models/my_model-v2.json", "models/my_model-v2.json"),
        ("a|b", "a\\|b"),
        ("<b>&lt;`x`", "&lt;b&gt;&amp;lt;\\`x\\`"),
        ("_x_ *y* [z](w) $q$", "\\_x\\_ \\*y\\* \\[z\\](w) \\$q\\$"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_of_names(name: str, shown: str) -> None:
    assert in_markdown(name) == shown


def test_latex_of_names() -> None:
    assert in_latex("mc_dropout p=0.1 & 50 % of {x} ~ $a^b$") == (
        r"mc\_dropout p=0.1 \& 50 \% of \{x\} \textasciitilde{} \$a\textasciicircum{}b\$"
    )
    assert in_latex("a\\b|c<d>") == r"a\textbackslash{}b\textbar{}c\textless{}d\textgreater{}"


@pytest.mark.parametrize("name", NAMES)
def test_tables_keep_their_columns(tmp_path: Path, name: str) -> None:
    points = [CurvePoint(name, "gaussian", "coverage", 4, np.array([0.0, 1.0]), 1.0)]
    asked = [("0", "how many ?", "1"), ("1", "how few ?", "0")]
    run = ReportedRun(name, name, "abc", name, ("def", 10), rows(name), RunPoints(name, asked, {name: points}))
    runs = [run, replace(run, name="b", points=RunPoints("b", asked, {name: points}))]
    assert (
        len(re.findall(r"(?<!\\)\|", difference_table(compare_runs([one.points for one in runs])).splitlines()[-1]))
        == 7
    )
    for table, columns in ((summary_of_run(rows(name)), 4), (summary_table(runs), 6)):
        for line in table.splitlines():
            assert len(re.findall(r"(?<!\\)\|", line)) == columns + 1, line
            assert "<" not in line
    write_comparison(runs, tmp_path)
    with (tmp_path / "curves.csv").open(newline="") as file:
        content = list(csv.DictReader(file))
    assert {row["run"] for row in content} == {name, "b"}
    assert {row["trial"] for row in content} >= {f"{name}: {name}", f"b: {name} 2"}


@pytest.mark.parametrize("name", NAMES)
def test_terminals_show_names(name: str) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    print_tables(rows(name), console)
    print_objectives([Judged(name, (0.1,), best=True)], [parse_objective("coverage")], console)
    console.print(trials_table(Snapshot(4, 2, 0, (), (TrialProgress(name, 4, 0.5, ended=True),)), "coverage"))
    say(console, f"{name} :bug:")
    assert stream.getvalue().count(name.split("\n")[0]) >= 4
    assert ":bug:" in stream.getvalue()
