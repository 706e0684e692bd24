"""Gain tables: what they are fitted to, the index by brute force over stopping rules, and what a mean comes to."""

import itertools

import numpy as np
import pytest

from latent_core.budgets import RULES, Budget, GainTables, parse_budget
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.budgets.gain_table import GainStage, GainTable, chain_of
from latent_core.budgets.replay import replay
from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.calibration import VoteCalibration

WAVES = (4, 8, 16)


def questions_like(questions: int, samples: int, seed: int) -> Outcomes:
    """Some questions are hopeless, some easy, and scores say much about the latter."""
    rng = np.random.default_rng(seed)
    easy = np.where(rng.random(questions) < 0.3, 0.01, rng.beta(0.8, 2.0, questions))
    votes = np.where(rng.random((questions, samples)) < easy[:, None], 0, rng.integers(1, 6, (questions, samples)))
    correct = votes == 0
    scores = rng.normal(size=votes.shape) + 3.0 * correct
    return Outcomes(correct, votes, scores, VoteCalibration(temperature=0.5).weights(scores))


def chain_table(credit: list[list[float]], moves: list[list[list[float]]], waves: tuple[int, ...]) -> GainTable:
    stages = [
        GainStage(
            samples=n,
            means=(0.0,),
            scales=(1.0,),
            coefficients=(0.0, 1.0),
            edges=tuple(np.linspace(0.2, 0.8, len(own) - 1)),
            share=tuple(1 / len(own) for _ in own),
            credit=tuple(own),
            moves=tuple(map(tuple, moves[wave])) if wave < len(moves) else (),
        )
        for wave, (n, own) in enumerate(zip(waves, credit, strict=True))
    ]
    return GainTable(temperature=1.0, stages=tuple(stages))


def test_index_is_the_best_of_all_stopping_rules() -> None:
    rng = np.random.default_rng(0)
    bins, waves = 3, (1, 2, 4, 7)
    credit = rng.random((4, bins)).tolist()
    moves = rng.dirichlet(np.ones(bins), (3, bins)).tolist()
    chain = chain_of(chain_table(credit, moves, waves), waves)
    for wave, state in itertools.product(range(3), range(bins)):
        later = [(w, b) for w in range(wave + 1, 3) for b in range(bins)]
        best = -np.inf
        for plan in itertools.product([False, True], repeat=len(later)):
            goes_on = dict(zip(later, plan, strict=True)) | {(wave, state): True}
            share, gained, drawn = np.eye(bins)[state], -credit[wave][state], 0.0
            for w in range(wave, 4):
                on = np.array([goes_on.get((w, b), False) for b in range(bins)])
                gained += float((share * ~on) @ np.array(credit[w]))
                if w < 3:
                    drawn += (waves[w + 1] - waves[w]) * float((share * on).sum())
                    share = (share * on) @ np.array(moves[w])
            best = max(best, gained / drawn)
        assert chain.index[wave][state] == pytest.approx(best, abs=1e-9)


def test_waves_may_be_left_out() -> None:
    rng = np.random.default_rng(1)
    credit, moves = rng.random((3, 2)).tolist(), rng.dirichlet(np.ones(2), (2, 2)).tolist()
    chain = chain_of(chain_table(credit, moves, (2, 4, 8)), (2, 8))
    assert chain.moves[0] == pytest.approx(np.array(moves[0]) @ np.array(moves[1]))
    expected = (np.array(moves[0]) @ np.array(moves[1]) @ np.array(credit[2]) - np.array(credit[0])) / 6
    assert chain.index[0] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(UserError, match=r"budget.waves \[2, 6\]: .*waves \[2, 4, 8\]"):
        chain_of(chain_table(credit, moves, (2, 4, 8)), (2, 6))


def test_a_mean_is_met_on_the_questions_it_was_fitted_on() -> None:
    outcomes = questions_like(500, 16, 2)
    tables = fit_gain_tables(outcomes, WAVES, 0.5)
    for name in tables.tables:
        rules = {
            mean: Budget(RULES["gain"].model_validate({"mean": mean, "aggregation": name}), WAVES)
            for mean in (6, 8, 12)
        }
        prepared = {str(mean): budget.prepare(scored=True, fitted=tables) for mean, budget in rules.items()}
        for mean, made in replay(outcomes, prepared, WAVES).items():
            assert made.samples.mean() <= float(mean) + 0.3
            assert made.samples.mean() >= float(mean) - 1.5


def test_gain_beats_a_fixed_budget_on_other_questions() -> None:
    fitted, outcomes = fit_gain_tables(questions_like(600, 16, 3), WAVES, 0.5), questions_like(800, 16, 4)
    rule = Budget(RULES["gain"].model_validate({"mean": 8, "aggregation": "best_of_n"}), WAVES)
    made = replay(outcomes, {"gain": rule.prepare(scored=True, fitted=fitted)}, WAVES)["gain"]
    fixed = [AGGREGATIONS["best_of_n"](outcomes, n).mean() for n in range(1, 17)]
    assert made.credit["best_of_n"].mean() > np.interp(made.samples.mean(), np.arange(1, 17), fixed) + 0.005


def test_tables_are_the_same_for_the_same_outcomes_and_come_back() -> None:
    one, two = (fit_gain_tables(questions_like(120, 16, 5), WAVES, 0.5, orders=4) for _ in range(2))
    assert one == two == GainTables.model_validate_json(one.model_dump_json())
    assert [stage.samples for stage in one.tables["best_of_n"].stages] == list(WAVES)
    for stage in one.tables["best_of_n"].stages[:-1]:
        assert np.sum(stage.moves, axis=1) == pytest.approx(1.0, abs=1e-4)


def test_without_mixed_questions_or_scores_a_table_is_still_one() -> None:
    outcomes = Outcomes(
        np.ones((30, 16), dtype=np.bool_),
        np.zeros((30, 16), dtype=np.int64),
        np.full((30, 16), np.nan),
        np.zeros((30, 16)),
    )
    tables = fit_gain_tables(outcomes, WAVES, 0.5, orders=2)
    rule = Budget(RULES["gain"].model_validate({"min_gain": 0.001, "aggregation": "majority_vote"}), WAVES)
    made = replay(outcomes, {"gain": rule.prepare(scored=True, fitted=tables)}, WAVES)["gain"]
    assert (made.samples == 4).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give exactly one of min_gain and mean"),
        ({"mean": 8, "min_gain": 0.1}, "give exactly one"),
        ({"mean": 17}, r"budget.mean: must be between .* 4 and 16 \(got 17\)"),
        ({"mean": 2}, "budget.mean: must be between"),
        ({"mean": 8, "aggregation": "weighted_vot"}, "did you mean 'weighted_vote'"),
        ({"min_gain": -1.0}, "budget.min_gain"),
    ],
)
def test_wrong_settings_are_a_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        parse_budget({"rule": "gain", "waves": list(WAVES), **settings})
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_a_line() -> None:
    budget = Budget(RULES["gain"].model_validate({"mean": 8}), WAVES)
    with pytest.raises(UserError, match=r"budget.rule gain: .*scorer.checkpoint"):
        budget.prepare(scored=False)
    with pytest.raises(UserError, match=r"budget.rule gain: .*no table of gains"):
        budget.prepare(scored=True)
