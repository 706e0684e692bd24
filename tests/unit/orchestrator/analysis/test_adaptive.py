"""Rows of adaptive.csv: what they compare, what they cost, and intervals that cover."""

import csv
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latent_core.budgets import RULES, Budget
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.budgets.replay import orders_of, replay
from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.selection.estimators import FloatArray
from orchestrator.analysis.adaptive import (
    COLUMNS,
    AskedRule,
    adaptive_rows,
    paired_at_mean,
    parse_asked,
    waves_within,
    write_adaptive_csv,
)
from orchestrator.analysis.curves import QuestionCosts, cost_of, question_costs

WAVES = (4, 8, 16)


def outcomes_like(questions: int, seed: int, *, scored: bool = True) -> Outcomes:
    rng = np.random.default_rng(seed)
    easy = rng.beta(0.7, 0.9, questions)
    votes = np.where(rng.random((questions, 16)) < easy[:, None], 0, rng.integers(1, 5, (questions, 16)))
    correct = votes == 0
    scores = rng.normal(size=votes.shape) + 2.5 * correct
    if not scored:
        return Outcomes(correct, votes)
    return Outcomes(correct, votes, scores, VoteCalibration(temperature=0.5).weights(scores))


def costs_like(questions: int) -> QuestionCosts:
    prompt, sample = np.arange(1.0, questions + 1), np.full(questions, 10.0)
    return QuestionCosts(prompt, sample, prompt * 2, sample / 2)


def test_every_rule_is_there_for_every_aggregation() -> None:
    outcomes = outcomes_like(60, 0)
    gains = fit_gain_tables(outcomes_like(100, 1), WAVES, 0.5, orders=4)
    rows = adaptive_rows("t", outcomes, costs_like(60), None, gains)
    kinds = {(row.rule.split()[0], row.aggregation) for row in rows}
    assert kinds == {(rule, name) for rule in RULES for name in ("majority_vote", "best_of_n", "weighted_vote")}
    assert all(row.lo <= row.value <= row.hi and row.samples_lo <= row.samples <= row.samples_hi for row in rows)
    assert all(row.difference == pytest.approx(row.value - row.fixed, abs=1e-12) for row in rows)
    assert all(row.difference_lo <= row.difference <= row.difference_hi for row in rows)
    assert {row.horizon for row in rows} == {16}
    without = adaptive_rows("t", outcomes, costs_like(60), None, None)
    assert {row.rule.split()[0] for row in without} == set(RULES) - {"gain"}
    votes = adaptive_rows("t", outcomes_like(60, 0, scored=False), costs_like(60), None, gains)
    assert {(row.rule.split()[0], row.aggregation) for row in votes} == {
        (rule, "majority_vote") for rule in RULES if rule != "gain"
    }


def test_a_rule_that_stops_everything_at_once_is_the_fixed_budget() -> None:
    outcomes = outcomes_like(50, 2)
    costs = costs_like(50)
    gains = fit_gain_tables(outcomes_like(100, 1), WAVES, 0.5, orders=4)
    rows = adaptive_rows("t", outcomes, costs, [AskedRule("gain", {"min_gain": 0.99})], gains)
    for row in rows:
        assert (row.samples, row.waves) == (4.0, 1.0)
        assert row.fixed == pytest.approx(AGGREGATIONS[row.aggregation](outcomes, 4).mean())
        # Random orders instead of all: near, not equal.
        assert row.difference == pytest.approx(0.0, abs=0.02)
        # Rule gain looks at scores, whatever is voted on.
        assert row.flops == pytest.approx((costs.prompt * 3 + 4 * 15.0).sum())
        assert row.flops_prompts_again == row.flops


def test_waves_that_read_prompts_again_cost_more() -> None:
    rows = adaptive_rows("t", outcomes_like(50, 2), costs_like(50), [AskedRule("decided", {})], None)
    majority, best = rows[0], rows[1]
    prompts = costs_like(50).prompt.sum()
    assert majority.flops == pytest.approx(prompts + 10 * 50 * majority.samples)
    assert majority.flops < majority.flops_prompts_again <= majority.flops + 5 * prompts
    assert best.flops == pytest.approx(3 * prompts + 15 * 50 * best.samples)


def test_costs_of_questions_add_up_to_those_of_the_curves() -> None:
    records = pd.DataFrame(
        {
            "question_id": ["b", "b", "a", "a"],
            "error": [None, None, None, "RuntimeError"],
            "prompt_flops": [5.0, 5.0, 7.0, np.nan],
            "flops": [1.0, 3.0, 4.0, np.nan],
            "score": [0.1, 0.2, 0.3, np.nan],
            "score_prompt_flops": [50.0, 50.0, 70.0, np.nan],
            "score_flops": [10.0, 30.0, 40.0, np.nan],
        }
    )
    costs, total = question_costs([records]), cost_of(records)
    assert costs.prompt.tolist() == [5.0, 7.0]
    assert costs.sample.tolist() == [2.0, 2.0]
    assert (costs.scorer_prompt.sum(), costs.scorer_sample.sum()) == (total.scorer_prompts, total.per_sample_scoring)
    assert (costs.prompt.sum(), costs.sample.sum()) == (total.prompts, total.per_sample)


def test_too_few_samples_have_no_rows() -> None:
    assert waves_within(7) == ()
    assert waves_within(8) == (4, 8)
    assert waves_within(100) == (4, 8, 16, 32, 64)
    few = outcomes_like(5, 3)
    cut = Outcomes(few.correct[:, :7], few.votes[:, :7])
    assert adaptive_rows("t", cut, costs_like(5), None, None) == []


def test_rows_are_written_and_read(tmp_path: Path) -> None:
    rows = adaptive_rows("t", outcomes_like(20, 4), costs_like(20), [AskedRule("posterior", {})], None)
    write_adaptive_csv(rows, tmp_path / "adaptive.csv")
    with (tmp_path / "adaptive.csv").open() as stream:
        lines = list(csv.reader(stream))
    assert tuple(lines[0]) == COLUMNS
    assert lines[1:] == [[str(value) for value in astuple(row)] for row in rows]


def test_rules_are_read_as_the_command_line_names_them() -> None:
    assert parse_asked("posterior") == AskedRule("posterior", {})
    assert parse_asked("gain:mean=16,aggregation=best_of_n") == AskedRule(
        "gain", {"mean": 16, "aggregation": "best_of_n"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("posterio", "unknown budget rule 'posterio': did you mean 'posterior'"),
        ("posterior:0.9", "--budgets posterior:0.9: '0.9' is no setting; write posterior:NAME=VALUE with one of conf"),
        ("posterior:confidence=2", "budget.confidence: "),
        ("posterior:sure=1", "unknown key 'budget.sure' of budget rule 'posterior'"),
    ],
)
def test_what_is_no_rule_is_a_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_asked(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_rule_that_was_asked_for_needs_its_scores_and_its_table() -> None:
    for outcomes, message in (
        (outcomes_like(20, 5, scored=False), "nothing scores these samples"),
        (outcomes_like(20, 5), "no table of gains"),
    ):
        with pytest.raises(UserError, match=message):
            adaptive_rows("t", outcomes, costs_like(20), [AskedRule("gain", {"mean": 8})], None)


def test_confidence_is_an_axis_of_rule_gain_where_all_samples_have_it() -> None:
    def sure(outcomes: Outcomes) -> Outcomes:
        logprobs = np.where(outcomes.correct, -0.5, -1.5)
        return replace(outcomes, confidences=logprobs, confidence_weights=np.exp(logprobs))

    gains = fit_gain_tables(sure(outcomes_like(100, 1)), WAVES, 0.5, orders=4)
    outcomes, asked = outcomes_like(30, 5), [parse_asked("gain:own_confidence=true,mean=8")]
    rows = adaptive_rows("t", sure(outcomes), costs_like(30), asked, gains)
    assert {row.rule for row in rows} == {"gain mean=8 own_confidence=True"}
    assert {row.aggregation for row in rows} == {"majority_vote", "best_of_n", "weighted_vote"}
    with pytest.raises(UserError, match="own confidence, and some of these trajectories are older"):
        adaptive_rows("t", outcomes, costs_like(30), asked, gains)
    assert not any("own_confidence" in row.rule for row in adaptive_rows("t", outcomes, costs_like(30), None, gains))


@pytest.mark.slow
@pytest.mark.parametrize("questions", [60, 200])
def test_intervals_of_differences_cover_them(questions: int) -> None:
    """Rule and fixed budget on populations: the difference at equal means is in at least 93 % of the intervals."""
    size, experiments = 4_000, 400
    population = outcomes_like(size, 6)
    gains = fit_gain_tables(outcomes_like(300, 7), WAVES, 0.5, orders=8)
    rule = Budget(RULES["gain"].model_validate({"mean": 8, "aggregation": "best_of_n"}), WAVES)
    made = replay(population, {"it": rule.prepare(scored=True, fitted=gains)}, WAVES, orders_of(size, 16, 8))["it"]
    grid = np.arange(4, 17)
    curves = np.array([AGGREGATIONS["best_of_n"](population, int(n)) for n in grid])
    credit = made.credit["best_of_n"]

    def compared(rows: FloatArray) -> tuple[float, float, float]:
        mean = float(made.samples[rows].mean())
        low = int(np.clip(np.searchsorted(grid, mean) - 1, 0, len(grid) - 2))
        share = mean - grid[low]
        fixed = (1 - share) * curves[low, rows] + share * curves[low + 1, rows]
        slope = float((curves[low + 1, rows] - curves[low, rows]).mean())
        return paired_at_mean(credit[rows], made.samples[rows], fixed, slope)

    truth = compared(np.arange(size))[0]
    assert truth > 0.01
    rng = np.random.default_rng(8)
    intervals = [compared(rng.choice(size, questions, replace=False)) for _ in range(experiments)]
    assert np.mean([lo <= truth <= hi for _, lo, hi in intervals]) >= 0.93
