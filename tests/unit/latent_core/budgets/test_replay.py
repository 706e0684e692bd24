"""Replays are the mean over all orders of the samples, rules see nothing but prefixes, and intervals cover."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from latent_core.budgets import RULES, Budget, Prefix
from latent_core.budgets.gain_features import GAINING
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.budgets.replay import Replay, credit_of, orders_of, replay, replayable, views
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.selection.estimators import BoolArray, token_probabilities
from latent_core.selection.intervals import mean_interval

WAVES = (2, 3, 5)


def outcomes_like(questions: int, samples: int, seed: int = 0, *, ties: bool = False) -> Outcomes:
    """Questions of all difficulties; answer 0 is right; scores tell right from wrong, but not well."""
    rng = np.random.default_rng(seed)
    easy = rng.beta(0.7, 0.7, questions)
    wrong = rng.integers(1, 4, (questions, samples))
    votes = np.where(rng.random((questions, samples)) < easy[:, None], 0, wrong)
    votes[rng.random(votes.shape) < 0.1] = -1
    correct = votes == 0
    scores = rng.normal(size=votes.shape) + 2.0 * correct
    scores = np.round(scores) if ties else scores
    scores[rng.random(votes.shape) < 0.05] = np.nan
    sure = np.where(votes < 0, np.nan, -rng.gamma(2.0, size=votes.shape) * (1 + votes))
    likely = token_probabilities(sure, np.ones(votes.shape))
    own = {"confidences": sure, "confidence_weights": likely}
    return Outcomes(correct, votes, scores, VoteCalibration(temperature=0.5).weights(scores), **own)


def decided(horizon: int) -> Budget:
    return Budget(RULES["decided"](), tuple(n for n in WAVES if n <= horizon))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["majority_vote", "best_of_n", "weighted_vote"])
def test_credit_of_a_prefix_is_the_aggregation_of_all_its_samples(name: str, ties: bool) -> None:
    outcomes = outcomes_like(120, 7, ties=ties)
    for n, view in zip((1, 4, 7), views(outcomes, orders_of(120, 7, 2), (1, 4, 7)), strict=True):
        assert view.prefix.scores is not None
        assert view.weights is not None
        alone = Outcomes(view.correct, view.prefix.votes, view.prefix.scores, view.weights)
        assert credit_of(name, view) == pytest.approx(AGGREGATIONS[name](alone, n), abs=1e-9)


def by_hand(outcomes: Outcomes, budget: Budget) -> Mapping[str, list[float]]:
    """Every order of every question, wave by wave, one at a time."""
    found: dict[str, list[float]] = {"samples": [], "majority_vote": [], "best_of_n": [], "weighted_vote": []}
    decide = budget.prepare(scored=True)
    for q in range(outcomes.questions):
        totals = dict.fromkeys(found, 0.0)
        orders = list(itertools.permutations(range(outcomes.samples)))
        for order in orders:
            for n in budget.waves:
                taken = np.array(order[:n])[None]
                prefix = Prefix(outcomes.votes[q][taken], outcomes.get("scores")[q][taken])
                if n == budget.horizon or not decide(prefix)[0]:
                    break
            totals["samples"] += n
            part = Outcomes(
                outcomes.correct[q][taken],
                outcomes.votes[q][taken],
                outcomes.get("scores")[q][taken],
                outcomes.get("vote_weights")[q][taken],
            )
            for name in replayable(outcomes):
                totals[name] += float(AGGREGATIONS[name](part, n)[0])
        for name, total in totals.items():
            found[name].append(total / len(orders))
    return found


@pytest.mark.parametrize("rule", ["decided", "posterior", "anytime"])
def test_replay_over_all_orders_is_brute_force(rule: str) -> None:
    outcomes = outcomes_like(6, 5, seed=5)
    budget = Budget(RULES[rule].model_validate({"confidence": 0.6} if rule == "posterior" else {}), WAVES)
    every = np.array(list(itertools.permutations(range(5))))
    made = replay(outcomes, {"it": budget.prepare(scored=True)}, WAVES, np.broadcast_to(every, (6, *every.shape)))["it"]
    expected = by_hand(outcomes, budget)
    assert made.samples == pytest.approx(expected["samples"])
    for name in replayable(outcomes):
        assert made.credit[name] == pytest.approx(expected[name])


def test_random_orders_are_fair_and_belong_to_the_question() -> None:
    orders = orders_of(200, 5, 60)
    assert (np.sort(orders, axis=2) == np.arange(5)).all()
    counts = np.zeros((5, 5))
    np.add.at(counts, (np.broadcast_to(np.arange(5), orders.shape), orders), 1)
    assert abs(counts / 12_000 - 0.2).max() < 0.02
    assert (orders_of(3, 5, 60, first_question=7) == orders[7:10]).all()


def test_a_rule_that_never_stops_is_the_fixed_budget() -> None:
    outcomes = outcomes_like(80, 16)
    made = replay(outcomes, {"all": lambda seen: np.ones(len(seen.votes), dtype=np.bool_)}, (4, 16))["all"]
    assert (made.samples == 16).all()
    assert (made.waves == 2).all()
    for name in replayable(outcomes):
        assert made.credit[name] == pytest.approx(AGGREGATIONS[name](outcomes, 16))


def shuffled_tails_change_decisions(decide: object, outcomes: Outcomes, waves: tuple[int, ...]) -> bool:
    """Whether other samples behind the prefix change what a rule decides on it."""
    rng = np.random.default_rng(8)
    orders = orders_of(outcomes.questions, outcomes.samples, 4)
    for n in waves[:-1]:
        other = orders.copy()
        other[:, :, n:] = rng.permuted(other[:, :, n:], axis=2)
        one, two = (next(iter(views(outcomes, some, (n,)))).prefix for some in (orders, other))
        assert callable(decide)
        if (decide(one) != decide(two)).any():
            return True
    return False


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        *((rule, {"mean": 8} if rule == "gain" else {}) for rule in RULES),
        *(("gain", {"mean": 8, "own_confidence": True, "aggregation": name}) for name in GAINING),
    ],
)
def test_what_lies_behind_the_prefix_does_not_matter(rule: str, settings: dict[str, object]) -> None:
    outcomes, waves = outcomes_like(150, 16), (4, 8, 16)
    fitted = fit_gain_tables(outcomes_like(150, 16, seed=9), waves, 0.5, orders=4)
    decide = Budget(RULES[rule].model_validate(settings), waves).prepare(scored=True, fitted=fitted)
    assert not shuffled_tails_change_decisions(decide, outcomes, waves)


def test_a_rule_that_peeks_is_caught() -> None:
    """Arrays of a prefix own their samples: there is no way back to the store, and trying it shows."""
    outcomes = outcomes_like(150, 16)

    def peeks(seen: Prefix) -> BoolArray:
        behind = seen.votes.base
        return np.asarray(behind is not None and behind.size > seen.votes.size)

    for view in views(outcomes, orders_of(150, 16, 4), (4, 8)):
        base = view.prefix.votes.base
        assert base is None or base.size == view.prefix.votes.size
        assert not peeks(view.prefix)
    unfair = {"state": 0}

    def random_state(seen: Prefix) -> BoolArray:
        unfair["state"] += 1
        return np.full(len(seen.votes), unfair["state"] % 2 == 0)

    assert shuffled_tails_change_decisions(random_state, outcomes, (4, 8, 16))


def test_waves_beyond_the_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 5 samples"):
        replay(outcomes_like(3, 5), {}, (4, 8))


@pytest.mark.slow
def test_intervals_cover_what_the_rule_is_worth() -> None:
    """Populations of questions of which each experiment draws some: the mean of all is in 95 % of intervals."""
    waves, questions, experiments = (4, 8, 16), 100, 600
    population = outcomes_like(6_000, 16, seed=10)
    rules = {
        "posterior": Budget(RULES["posterior"](), waves).prepare(scored=True),
        "gain": Budget(RULES["gain"].model_validate({"mean": 8}), waves).prepare(
            scored=True, fitted=fit_gain_tables(outcomes_like(300, 16, seed=11), waves, 0.5, orders=8)
        ),
    }
    made: dict[str, Replay] = replay(population, rules, waves, orders_of(6_000, 16, 8))
    rng = np.random.default_rng(12)
    for one in made.values():
        for values in one.credit.values():
            held = 0
            for _ in range(experiments):
                interval = mean_interval(values[rng.choice(6_000, questions, replace=False)])
                held += interval.lo <= values.mean() <= interval.hi
            assert held / experiments >= 0.93
