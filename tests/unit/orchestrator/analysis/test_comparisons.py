"""Comparisons: the right pairs, paired question by question, at equal N and equal FLOPs, corrected, written whole."""

import csv
from pathlib import Path

import numpy as np
import pytest

from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import paired_difference, paired_test
from orchestrator.analysis.comparisons import (
    COLUMNS,
    MOST_TRIALS_IN_PAIRS,
    at_equal_flops,
    compare_all,
    write_comparisons_csv,
)
from orchestrator.analysis.curves import CurvePoint
from orchestrator.analysis.holm import holm
from orchestrator.analysis.run_comparisons import RunPoints, compare_runs

RNG = np.random.default_rng(0)
HARD = RNG.random(300)
GREEDY = CurvePoint("greedy", "none", "greedy", 1, (HARD < 0.5).astype(float), 300.0)


def point(aggregation: str, n: int, values: FloatArray, trial: str = "t", flops: float | None = None) -> CurvePoint:
    return CurvePoint(trial, trial, aggregation, n, values, 300.0 * n if flops is None else flops)


VALUES = {
    "coverage": np.ones(300),
    "majority_vote": 0.6 * (1 - HARD),
    "best_of_n": 0.6 * (1 - HARD) + 0.1 * RNG.random(300),
    "beam_search": (HARD < 0.3).astype(float),
}
POINTS = [point(name, n, values) for name, values in VALUES.items() for n in (1, 16)]


def test_aggregations_meet_each_other_and_greedy_decoding() -> None:
    found = [one for one in compare_all({"t": POINTS}, GREEDY) if one.kind == "aggregations"]
    assert {(one.aggregation, one.baseline) for one in found} == {
        ("majority_vote", "greedy"),
        ("best_of_n", "greedy"),
        ("beam_search", "greedy"),
        ("best_of_n", "majority_vote"),
        ("beam_search", "majority_vote"),
        ("beam_search", "best_of_n"),
    }
    # At one sample there is nothing to choose, and coverage chooses nothing.
    assert {(one.trial, one.n, one.questions) for one in found} == {("t", 16, 300)}
    values = VALUES | {"greedy": GREEDY.by_question}
    for one in found:
        pair = values[one.aggregation], values[one.baseline]
        assert (one.difference, one.lo, one.hi) == tuple(paired_difference(*pair))
        assert one.p == paired_test(*pair)
        assert (one.baseline_n, one.baseline_trial) == ((1, "greedy") if one.baseline == "greedy" else (16, "t"))


def test_the_vote_meets_greedy_decoding_without_any_score() -> None:
    points = [point(name, 4, VALUES[name]) for name in ("coverage", "majority_vote")]
    assert [(one.aggregation, one.baseline) for one in compare_all({"t": points}, GREEDY)] == [
        ("majority_vote", "greedy")
    ]
    assert compare_all({"t": points}) == []


def test_pairing_sees_what_overlapping_intervals_hide() -> None:
    found = {(one.aggregation, one.baseline): one for one in compare_all({"t": POINTS}, GREEDY)}
    better, worse = found["best_of_n", "majority_vote"], found["beam_search", "best_of_n"]
    assert better.difference == pytest.approx((VALUES["best_of_n"] - VALUES["majority_vote"]).mean())
    assert better.is_clear
    assert better.hi - better.lo < 0.02
    assert worse.difference < 0
    assert worse.is_clear


def test_equal_methods_are_not_called_different() -> None:
    [same] = compare_all({"t": [point("majority_vote", 4, HARD), point("best_of_n", 4, HARD)]})
    assert same.difference == 0
    assert not same.is_clear
    assert same.p == same.p_holm == 1.0


def test_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="same questions"):
        compare_all({"t": [point("majority_vote", 4, HARD[:5]), point("best_of_n", 4, HARD)]})


def test_trials_meet_at_equal_n_and_at_equal_flops() -> None:
    """Trial b costs twice as much a sample: at the cost of its two samples a has four."""
    steps = {1: 0.1, 2: 0.2, 4: 0.4}
    cheap = [point("coverage", n, np.full(10, value), "a", 10.0 * n) for n, value in steps.items()]
    dear = [point("coverage", n, np.full(10, 1.5 * value), "b", 20.0 * n) for n, value in steps.items()]
    found = compare_all({"a": cheap, "b": dear})
    assert {(one.kind, one.trial, one.baseline_trial) for one in found} == {
        ("trials", "b", "a"),
        ("trials at equal FLOPs", "b", "a"),
    }
    equal_n = {one.n: one.difference for one in found if one.kind == "trials"}
    assert equal_n == pytest.approx({1: 0.05, 2: 0.1, 4: 0.2})
    # Four samples of b cost more than anything that a has.
    equal_cost = {one.n: (one.difference, one.baseline_n) for one in found if one.kind == "trials at equal FLOPs"}
    assert equal_cost == {1: pytest.approx((-0.05, 2.0)), 2: pytest.approx((-0.1, 4.0))}


def test_between_budgets_a_curve_is_read_question_by_question() -> None:
    low, high = RNG.random(10), RNG.random(10)
    curve = [point("majority_vote", 4, low, flops=100.0), point("majority_vote", 8, high, flops=180.0)]
    at = at_equal_flops(curve, 120.0)
    assert at is not None
    np.testing.assert_allclose(at[0].by_question, 0.75 * low + 0.25 * high)
    assert at[1] == pytest.approx(5.0)
    assert at_equal_flops(curve, 99.0) is None
    assert at_equal_flops(curve, 181.0) is None
    for one in curve:
        found = at_equal_flops(curve, one.flops * (1 + 1e-12))
        assert found is not None
        assert found == (one, float(one.n))


def test_an_unknown_cost_is_no_equal_cost() -> None:
    points = {name: [point("coverage", n, HARD, name, float("nan")) for n in (1, 2)] for name in ("a", "b")}
    assert {one.kind for one in compare_all(points)} == {"trials"}


@pytest.mark.parametrize(("trials", "pairs"), [(MOST_TRIALS_IN_PAIRS, 66), (MOST_TRIALS_IN_PAIRS + 1, 12)])
def test_many_trials_meet_the_best_only(trials: int, pairs: int) -> None:
    points = {f"t{index}": [point("coverage", 2, np.full(10, index / 100), f"t{index}")] for index in range(trials)}
    found = compare_all(points)
    assert len(found) == pairs
    if trials > MOST_TRIALS_IN_PAIRS:
        assert {one.baseline_trial for one in found} == {f"t{trials - 1}"}


def test_p_values_are_corrected_for_their_number() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    found = [one for one in compare_all({"t": POINTS}, GREEDY) if one.kind == "aggregations"]
    assert [one.p_holm for one in found] == holm([one.p for one in found])


def test_runs_meet_on_the_questions_that_both_have_asked() -> None:
    questions = [(f"q{index}", "how many ?", str(index)) for index in range(300)]
    trials = {"greedy": [GREEDY], "t": [point("majority_vote", 4, HARD)]}
    one = RunPoints("a", questions, trials)
    # The order differs, one question has another text, and the best trial another name.
    order = RNG.permutation(299)
    shuffled = [questions[index] for index in order] + [("q299", "how few ?", "299")]
    values = np.append(HARD[order] / 2, 1.0)
    other = RunPoints(
        "b", shuffled, {"t": [point("majority_vote", 4, values)], "u": [point("majority_vote", 4, values / 2)]}
    )
    found = compare_runs([one, other])
    assert [(each.trial, each.baseline_trial, each.aggregation) for each in found] == [
        ("b: t", "a: t", "majority_vote")
    ]
    assert found[0].questions == 299
    assert found[0].difference == pytest.approx(-HARD[:299].mean() / 2)
    best = RunPoints("b", questions, {"u": [point("majority_vote", 4, HARD / 2)]})
    [only] = compare_runs([one, best])
    assert (only.trial, only.baseline_trial) == ("b: u", "a: t")
    assert (
        compare_runs([one, RunPoints("c", [("q0", "other", "0")], {"t": [point("majority_vote", 4, HARD[:1])]})]) == []
    )


def test_the_file_restores_every_number(tmp_path: Path) -> None:
    points = [point(name, 16, VALUES[name], 'a, "quoted" trial') for name in ("majority_vote", "best_of_n")]
    comparisons = compare_all({'a, "quoted" trial': points}, GREEDY)
    write_comparisons_csv(comparisons, tmp_path / "comparisons.csv")
    with (tmp_path / "comparisons.csv").open(newline="") as stream:
        reader = csv.DictReader(stream)
        read = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    assert read == [{name: str(getattr(one, name)) for name in COLUMNS} for one in comparisons]
    assert [float(line["lo"]) for line in read] == [one.lo for one in comparisons]
