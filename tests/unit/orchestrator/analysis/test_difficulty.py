"""By difficulty: questions in bins, and values that can be worked out by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.difficulty import (
    BINS,
    COLUMNS,
    DifficultyRow,
    best_trial,
    bins_of,
    difficulty_rows,
    write_difficulty_csv,
)
from orchestrator.reporting.plots.difficulty_png import plot_difficulty_png

# Eight questions with four samples each, and one right sample more in each of the first five.
CORRECT = np.array([0, 1, 2, 3, 4, 0, 4, 4])
# pass@2 of c right ones among 4 is 1 - C(4 - c, 2) / C(4, 2).
PASS_2 = np.array([0, 1 / 2, 5 / 6, 1, 1, 0, 1, 1])
VALUES = {
    1: {"coverage": CORRECT / 4, "greedy": np.array([1.0, 0, 0, 1, 1, 0, 1, 1])},
    2: {"coverage": PASS_2},
    4: {"coverage": np.where(CORRECT > 0, 1.0, 0.0), "beam_search": np.array([0.0, 1, 0, 1, 1, 1, 1, 1])},
}


def found() -> dict[tuple[str, int, str], DifficultyRow]:
    rows = difficulty_rows(VALUES, CORRECT, 4, trial="gaussian sigma=1")
    assert {row.trial for row in rows} == {"gaussian sigma=1"}
    return {(row.aggregation, row.n, row.difficulty): row for row in rows}


@pytest.mark.parametrize(
    ("correct", "samples", "label"),
    [
        (0, 4, "never"),
        (1, 4, "(0, 0.25]"),
        (2, 4, "(0.25, 0.5]"),
        (3, 4, "(0.5, 0.75]"),
        (4, 4, "always"),
        (1, 64, "(0, 0.25]"),
        (16, 64, "(0, 0.25]"),
        (17, 64, "(0.25, 0.5]"),
        (48, 64, "(0.5, 0.75]"),
        (49, 64, "(0.75, 1)"),
        (63, 64, "(0.75, 1)"),
        (64, 64, "always"),
        (1, 3, "(0.25, 0.5]"),
        (2, 3, "(0.5, 0.75]"),
        (1, 1, "always"),
    ],
)
def test_bins(correct: int, samples: int, label: str) -> None:
    assert BINS[int(bins_of(np.array([correct]), samples)[0])] == label


def test_means_and_counts_of_the_bins() -> None:
    rows = found()
    assert {key[2]: row.questions for key, row in rows.items() if key[:2] == ("coverage", 1)} == {
        "never": 2,
        "(0, 0.25]": 1,
        "(0.25, 0.5]": 1,
        "(0.5, 0.75]": 1,
        "always": 3,
    }
    assert rows["coverage", 2, "(0, 0.25]"].value == pytest.approx(1 / 2)
    assert rows["coverage", 2, "(0.25, 0.5]"].value == pytest.approx(5 / 6)
    assert rows["coverage", 1, "(0.5, 0.75]"].value == pytest.approx(3 / 4)
    # Greedy decoding answers one of the two questions that no sample answers.
    assert rows["greedy", 1, "never"].value == pytest.approx(1 / 2)
    assert rows["beam_search", 4, "never"].value == pytest.approx(1 / 2)
    # The bins together are all questions.
    for aggregation, n in (("coverage", 2), ("beam_search", 4)):
        own = [row for key, row in rows.items() if key[:2] == (aggregation, n)]
        mean = sum(row.questions * row.value for row in own) / 8
        assert mean == pytest.approx(VALUES[n][aggregation].mean())


def test_what_follows_from_the_bin_has_no_width_and_what_is_measured_has() -> None:
    rows = found()
    for n in (1, 2, 4):
        assert (rows["coverage", n, "never"].lo, rows["coverage", n, "never"].hi) == (0.0, 0.0)
        assert (rows["coverage", n, "always"].lo, rows["coverage", n, "always"].hi) == (1.0, 1.0)
    # All four samples cover every question that has a right one among them.
    assert rows["coverage", 4, "(0, 0.25]"].lo == 1.0
    # Three of three questions are no proof that greedy decoding is always right there: with two right and two wrong
    # pseudo-questions among them, 5 of 7 are right.
    z = 1.959963984540054
    assert rows["greedy", 1, "always"].value == 1.0
    assert rows["greedy", 1, "always"].lo == pytest.approx(5 / 7 - z * (5 / 7 * 2 / 7 / 7) ** 0.5)
    assert rows["beam_search", 4, "always"].lo < 1.0


def test_one_sample_tells_no_difficulty() -> None:
    assert difficulty_rows({1: {"coverage": np.array([0.0, 1.0])}}, np.array([0, 1]), 1, trial="none") == []


def row_of(trial: str, n: int, questions: int, value: float) -> DifficultyRow:
    return DifficultyRow(trial, "coverage", n, BINS[1], questions, value, value, value)


def test_the_best_trial_is_that_at_the_largest_budget() -> None:
    rows = [row_of("a", 4, 8, 0.9), row_of("b", 16, 6, 0.5), row_of("b", 16, 2, 1.0), row_of("c", 16, 8, 0.6)]
    # b has 5 of 8 questions right, c 4.8; a was stopped early.
    assert best_trial(rows, "coverage") == "b"
    assert best_trial(rows, "majority_vote") is None


def test_the_file_holds_the_exact_numbers(tmp_path: Path) -> None:
    rows = list(found().values())
    write_difficulty_csv(rows, tmp_path / "difficulty.csv")
    with (tmp_path / "difficulty.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert tuple(read[0]) == COLUMNS
    assert [float(line["value"]) for line in read] == [row.value for row in rows]
    assert [line["difficulty"] for line in read] == [row.difficulty for row in rows]


def test_the_picture(tmp_path: Path) -> None:
    plot_difficulty_png(list(found().values()), tmp_path / "difficulty.png", "bundled:x on $5 questions")
    assert (tmp_path / "difficulty.png").read_bytes().startswith(b"\x89PNG")
