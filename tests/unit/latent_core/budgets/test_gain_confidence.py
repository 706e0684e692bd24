"""Rule `gain` with the reasoner's own confidence: its features one by one, and what they are worth."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latent_core.budgets import Budget, GainTables, Prefix, parse_budget
from latent_core.budgets.gain_features import GAINING, gain_features, table_name
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.budgets.replay import Replay, replay
from latent_core.errors import UserError
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.estimators import token_probabilities

WAVES = (4, 8, 16)
TEMPERATURE = 0.5


def told_by_confidence(questions: int, seed: int) -> Outcomes:
    """Scores and votes are noise, equal for all questions; only the reasoner knows whether it is right."""
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 6, (questions, 16))
    correct = votes == rng.integers(0, 6, (questions, 1))
    scores = rng.normal(size=votes.shape)
    sure = np.where(correct, -0.2, -2.0) * rng.uniform(0.5, 1.5, votes.shape)
    tokens = rng.integers(1, 4, votes.shape).astype(np.float64)
    weights = np.exp(scores / TEMPERATURE)
    return Outcomes(
        correct, votes, scores, weights, None, None, sure * tokens, token_probabilities(sure * tokens, tokens)
    )


def gain(**settings: Any) -> Budget:
    return parse_budget({"rule": "gain", "waves": list(WAVES), **settings})


def by_hand(name: str, votes: list[int], scores: list[float], sure: list[float]) -> tuple[float, float]:
    """Mean confidence in the present answer and the highest in another, NaN where nobody knows."""
    answers = sorted({vote for vote in votes if vote >= 0})
    if name == "best_of_n":
        best = max(range(len(votes)), key=lambda k: -math.inf if math.isnan(scores[k]) else scores[k])
        support = {answer: float(answer == votes[best]) for answer in answers}
    elif name == "majority_vote":
        support = {answer: float(votes.count(answer)) for answer in answers}
    else:
        support = {
            answer: sum(
                math.exp(score / TEMPERATURE)
                for vote, score in zip(votes, scores, strict=True)
                if vote == answer and not math.isnan(score)
            )
            for answer in answers
        }
    known = {
        answer: [one for vote, one in zip(votes, sure, strict=True) if vote == answer and not math.isnan(one)]
        for answer in answers
    }
    mean = {answer: sum(own) / len(own) if own else -math.inf for answer, own in known.items()}
    most = max(support.values(), default=0.0)
    leaders = [answer for answer in answers if support[answer] == most and most > 0]
    present = max(leaders, key=lambda answer: mean[answer], default=None)
    others = [one for answer, own in known.items() if answer != present for one in own]
    own = math.nan if present is None or not known[present] else mean[present]
    return own, max(others, default=math.nan)


@pytest.mark.parametrize("name", GAINING)
def test_features_are_those_of_a_loop_over_samples(name: str) -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 4, (400, 5))
    votes[:40] = 2
    scores = np.where(rng.random(votes.shape) < 0.1, np.nan, rng.normal(size=votes.shape))
    sure = np.where(rng.random(votes.shape) < 0.3, np.nan, -rng.gamma(2.0, size=votes.shape))
    tokens = rng.integers(1, 5, votes.shape).astype(np.float64)
    seen = Prefix(votes, scores, sure * tokens, token_probabilities(sure * tokens, tokens))
    found = gain_features(name, seen, TEMPERATURE, own_confidence=True)
    plain = gain_features(name, seen, TEMPERATURE)
    assert (found[:, :-2] == plain).all()
    expected = [
        by_hand(name, *map(list, row)) for row in zip(votes.tolist(), scores.tolist(), sure.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found[:, -2:], expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(found[:, -2:]).any(axis=0).all()
    assert np.isfinite(found[:, -2:]).any(axis=0).all()


@pytest.mark.parametrize("name", GAINING)
def test_neither_names_of_answers_nor_neighbours_change_a_bit(name: str) -> None:
    """Online, codes are those of a block; in a replay, those of a trial: sums must not notice."""
    rng = np.random.default_rng(2)
    votes, scores = rng.integers(0, 24, (300, 32)), rng.normal(size=(300, 32))
    wide = np.arange(32)[None]
    renamed = np.concatenate([rng.permutation(24)[votes] * 7, wide])
    one = gain_features(name, Prefix(votes, scores), TEMPERATURE)
    two = gain_features(name, Prefix(renamed, np.concatenate([scores, wide / 9.0])), TEMPERATURE)
    np.testing.assert_array_equal(one, two[:-1])


def test_names_of_answers_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    votes, weights = rng.integers(-1, 4, (300, 6)), rng.random((300, 6))
    weights[rng.random(weights.shape) < 0.2] = 0.0
    for names in ([5, 3, 70, 11], [1, 0, 3, 2]):
        renamed = np.where(votes < 0, -1, np.array(names)[votes])
        one, two = (
            gain_features("majority_vote", Prefix(some, None, weights, weights), 1.0, own_confidence=True)
            for some in (votes, renamed)
        )
        np.testing.assert_array_equal(one, two)


def test_confidence_is_worth_something_where_nothing_else_tells() -> None:
    fitted, outcomes = (fit_gain_tables(told_by_confidence(600, 2), WAVES, TEMPERATURE), told_by_confidence(800, 3))
    for aggregation in ("best_of_n", "weighted_vote"):
        made: dict[bool, Replay] = {}
        for own in (False, True):
            budget = gain(mean=8, aggregation=aggregation, own_confidence=own)
            decide = budget.prepare(scored=True, fitted=fitted)
            made[own] = replay(outcomes, {"it": decide}, WAVES)["it"]
        with_it, without = made[True], made[False]
        # Scores say nothing: a rule without confidence does no better than chance, however many samples it takes.
        assert without.credit[aggregation].mean() == pytest.approx(1 / 6, abs=0.03)
        assert with_it.samples.mean() <= without.samples.mean() + 0.5
        assert with_it.credit[aggregation].mean() > without.credit[aggregation].mean() + 0.05


def test_a_further_table_is_fitted_where_confidences_are_known() -> None:
    outcomes = told_by_confidence(120, 4)
    tables = fit_gain_tables(outcomes, WAVES, TEMPERATURE, orders=4)
    assert set(tables.tables) == {table_name(name, own_confidence=own) for name in GAINING for own in (False, True)}
    assert tables == GainTables.model_validate_json(tables.model_dump_json())
    older = fit_gain_tables(replace(outcomes, confidences=None, confidence_weights=None), WAVES, TEMPERATURE, orders=4)
    assert older.tables == {name: tables.tables[name] for name in GAINING}


def test_what_is_not_known_counts_like_the_mean_of_the_fit() -> None:
    fitted = fit_gain_tables(told_by_confidence(200, 5), WAVES, TEMPERATURE, orders=4)
    name = table_name("majority_vote", own_confidence=True)
    stage = fitted.tables[name].stages[0]
    votes = np.array([[0, 0, 1, 2], [0, 1, 2, 3], [1, 1, 1, 1]])
    nothing = np.zeros(votes.shape)
    unknown = gain_features("majority_vote", Prefix(votes, None, nothing, nothing), 1.0, own_confidence=True)
    assert np.isnan(unknown[:, -2:]).all()
    means = np.concatenate([unknown[:, :-2], np.broadcast_to(stage.means[-2:], (3, 2))], axis=1)
    np.testing.assert_array_equal(stage.right(unknown), stage.right(means))


def test_the_setting_is_left_out_where_it_is_not_used() -> None:
    with_it, without = gain(mean=8, own_confidence=True), gain(mean=8)
    assert without.to_config() == gain(mean=8, own_confidence=False).to_config()
    assert "own_confidence" not in without.to_config()
    assert with_it.to_config() == {**without.to_config(), "own_confidence": True}
    assert parse_budget(with_it.to_config()) == with_it != without == parse_budget(without.to_config())
    assert with_it.rule.describe() == "gain mean=8 own_confidence=True"
    assert (with_it.rule.reads_confidence, without.rule.reads_confidence) == (True, False)


def test_what_is_missing_is_a_line() -> None:
    outcomes, budget = told_by_confidence(60, 6), gain(mean=8, own_confidence=True)
    both = fit_gain_tables(outcomes, WAVES, TEMPERATURE, orders=2)
    old = both.model_copy(update={"tables": {name: both.tables[name] for name in GAINING}})
    assert gain(mean=8).prepare(scored=True, fitted=old, confident=False) is not None
    with pytest.raises(UserError, match=r"budget.own_confidence: .*latentswarm report RUN_DIR --fit-gain") as raised:
        budget.prepare(scored=True, fitted=old)
    assert "\n" not in str(raised.value)
    with pytest.raises(
        UserError, match=r"gain mean=8 own_confidence=True: .*older than .*another store.path"
    ) as raised:
        budget.prepare(scored=True, fitted=both, confident=False)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"budget.own_confidence: .*valid boolean.* \(got 'perhaps'\)"):
        gain(mean=8, own_confidence="perhaps")
    decide = budget.prepare(scored=True, fitted=both)
    with pytest.raises(ValueError, match="no confidences"):
        decide(Prefix(outcomes.votes[:, :4], outcomes.get("scores")[:, :4]))
