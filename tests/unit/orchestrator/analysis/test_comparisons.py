"""Comparisons: the right pairs, paired question by question, written whole."""

import csv
from pathlib import Path

import numpy as np
import pytest

from latent_core.selection.intervals import paired_difference
from orchestrator.analysis.comparisons import COLUMNS, compare, write_comparisons_csv

RNG = np.random.default_rng(0)
HARD = RNG.random(300)
VALUES = {
    "greedy": (HARD < 0.5).astype(float),
    "coverage": np.ones(300),
    "majority_vote": 0.6 * (1 - HARD),
    "best_of_n": 0.6 * (1 - HARD) + 0.1 * RNG.random(300),
    "weighted_vote_answer": 0.6 * (1 - HARD) + 0.2,
    "beam_search": (HARD < 0.3).astype(float),
}


def test_whatever_chooses_by_score_meets_both_baselines() -> None:
    found = compare(VALUES, trial="t", n=16)
    assert [(one.aggregation, one.baseline) for one in found] == [
        (name, baseline)
        for name in ("best_of_n", "weighted_vote_answer", "beam_search")
        for baseline in ("majority_vote", "greedy")
    ]
    assert {(one.trial, one.n, one.questions) for one in found} == {("t", 16, 300)}
    for one in found:
        expected = paired_difference(VALUES[one.aggregation], VALUES[one.baseline])
        assert (one.difference, one.lo, one.hi) == tuple(expected)


def test_pairing_sees_what_overlapping_intervals_hide() -> None:
    first = compare(VALUES, trial="t", n=16)[0]
    assert first.difference == pytest.approx((VALUES["best_of_n"] - VALUES["majority_vote"]).mean())
    assert first.is_clear
    assert first.hi - first.lo < 0.02
    worse = compare(VALUES, trial="t", n=16)[-1]
    assert worse.difference < 0
    assert worse.is_clear


def test_equal_methods_are_not_called_different() -> None:
    same = compare({"majority_vote": HARD, "best_of_n": HARD}, trial="t", n=4)[0]
    assert same.difference == 0
    assert not same.is_clear


def test_without_scores_or_without_a_baseline_there_is_nothing_to_compare() -> None:
    assert compare({name: VALUES[name] for name in ("greedy", "coverage", "majority_vote")}, trial="t", n=4) == []
    assert compare({"best_of_n": HARD}, trial="t", n=4) == []


def test_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="same questions"):
        compare({"majority_vote": HARD[:5], "best_of_n": HARD}, trial="t", n=4)


def test_the_file_restores_every_number(tmp_path: Path) -> None:
    comparisons = compare(VALUES, trial='a, "quoted" trial', n=16)
    write_comparisons_csv(comparisons, tmp_path / "comparisons.csv")
    with (tmp_path / "comparisons.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        read = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    assert read == [{name: str(getattr(one, name)) for name in COLUMNS} for one in comparisons]
    assert [float(line["lo"]) for line in read] == [one.lo for one in comparisons]
