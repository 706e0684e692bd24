"""Rules decide as brute force over everything that may still come says, and by nothing but the prefix."""

import itertools
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

from latent_core.budgets import DEFAULT_WAVES, RULES, Budget, Prefix, parse_budget
from latent_core.budgets.posterior import overtaking_probability
from latent_core.errors import UserError

WITHOUT_SCORES = [name for name in RULES if not RULES[name].needs_scores]


def prefix(*rows: list[int]) -> Prefix:
    return Prefix(np.array(rows, dtype=np.int64))


def all_prefixes(classes: int, samples: int) -> Prefix:
    return prefix(*(list(row) for row in itertools.product(range(-1, classes), repeat=samples)))


def can_change(row: list[int], left: int) -> bool:
    """Whether some further votes, of known answers or a new one, end in anything but the present leader alone."""
    counts = Counter(vote for vote in row if vote >= 0)
    leader = max(counts, key=lambda vote: counts[vote], default=None)
    for more in itertools.product([-1, 0, 1, 2, 3], repeat=left):
        total = counts + Counter(vote for vote in more if vote >= 0)
        best = max(total.values(), default=0)
        if [vote for vote, count in total.items() if count == best] != [leader]:
            return True
    return False


@pytest.mark.parametrize(("seen", "horizon"), [(3, 5), (4, 6), (4, 7)])
def test_decided_stops_exactly_where_no_completion_changes_the_vote(seen: int, horizon: int) -> None:
    go_on = Budget(RULES["decided"](), (seen, horizon)).prepare(scored=False)
    prefixes = all_prefixes(3, seen)
    expected = [can_change([int(vote) for vote in row], horizon - seen) for row in prefixes.votes]
    assert go_on(prefixes).tolist() == expected
    assert 0 < sum(expected) < len(expected)


@cache
def by_urn(leader: int, rival: int, others: int, left: int) -> float:
    """The same probability sample by sample: after each one its outcome becomes likelier (Polya's urn)."""
    if left == 0:
        lead = leader - rival
        return 1.0 if lead < 0 else 0.5 if lead == 0 else 0.0
    total = leader + rival + others + 3
    return (
        (leader + 1) / total * by_urn(leader + 1, rival, others, left - 1)
        + (rival + 1) / total * by_urn(leader, rival + 1, others, left - 1)
        + (others + 1) / total * by_urn(leader, rival, others + 1, left - 1)
    )


@pytest.mark.parametrize(("leader", "rival", "seen"), [(2, 1, 4), (3, 0, 4), (4, 4, 8), (9, 3, 16), (0, 0, 2)])
@pytest.mark.parametrize("left", [0, 1, 5, 24])
def test_overtaking_is_what_an_urn_says(leader: int, rival: int, seen: int, left: int) -> None:
    expected = by_urn(leader, rival, seen - leader - rival, left)
    assert overtaking_probability(leader, rival, seen, left) == pytest.approx(expected, abs=1e-12)


def test_posterior_adds_up_what_all_rivals_can_do() -> None:
    lost = overtaking_probability(3, 1, 5, 3) * 2 + overtaking_probability(3, 0, 5, 3)
    row = [0, 1, 0, 2, 0]
    for confidence, goes_on in ((1 - lost - 1e-9, False), (1 - lost + 1e-9, True)):
        go_on = Budget(RULES["posterior"].model_validate({"confidence": confidence}), (5, 8)).prepare(scored=False)
        assert go_on(prefix(row)).tolist() == [goes_on]


def test_posterior_needs_more_samples_for_more_confidence() -> None:
    prefixes = all_prefixes(3, 5)
    sure, surer = (
        Budget(RULES["posterior"].model_validate({"confidence": one}), (5, 16)).prepare(scored=False)(prefixes)
        for one in (0.8, 0.97)
    )
    assert (sure <= surer).all()
    assert sure.sum() < surer.sum()


@pytest.mark.parametrize("name", WITHOUT_SCORES)
def test_names_of_answers_do_not_matter(name: str) -> None:
    go_on = Budget(RULES[name](), (6, 16)).prepare(scored=False)
    rng = np.random.default_rng(1)
    votes = rng.integers(-1, 4, (200, 6))
    renamed = np.where(votes < 0, -1, np.array([70, 3, 11, 5])[votes])
    assert (go_on(Prefix(votes)) == go_on(Prefix(renamed))).all()


@pytest.mark.parametrize("name", WITHOUT_SCORES)
def test_a_question_is_decided_by_itself(name: str) -> None:
    go_on = Budget(RULES[name](), (10, 14)).prepare(scored=False)
    votes = np.random.default_rng(2).choice(5, (300, 10), p=[0.6, 0.2, 0.1, 0.05, 0.05])
    alone = [bool(go_on(Prefix(row[None]))[0]) for row in votes]
    assert go_on(Prefix(votes)).tolist() == alone
    assert 0 < sum(alone) < len(alone)


@pytest.mark.parametrize("name", WITHOUT_SCORES)
def test_nothing_goes_on_at_the_horizon_and_everything_without_a_vote(name: str) -> None:
    go_on = Budget(RULES[name](), (4, 8)).prepare(scored=False)
    assert not go_on(prefix(list(range(8)))).any()
    assert go_on(prefix([-1] * 4)).all()
    with pytest.raises(ValueError, match="not the end of a wave"):
        go_on(prefix([0] * 5))


def test_configurations_come_back() -> None:
    budget = parse_budget({"rule": "posterior", "waves": [2, 6], "confidence": 0.8})
    assert budget.to_config() == {"rule": "posterior", "waves": [2, 6], "confidence": 0.8}
    assert parse_budget(budget.to_config()) == budget
    assert parse_budget({"rule": "decided"}).waves == DEFAULT_WAVES
    assert (budget.rule.describe(), budget.horizon) == ("posterior confidence=0.8", 6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "budget.rule: missing"),
        ({"rule": "posterio"}, "did you mean 'posterior'"),
        ({"rule": "posterior", "confidense": 0.9}, "did you mean 'confidence'"),
        ({"rule": "posterior", "confidence": 1.0}, r"budget.confidence: .*less than 1 \(got 1.0\)"),
        ({"rule": "decided", "waves": [4, 4, 8]}, r"budget.waves: .*increase.*\[4, 4, 8\]"),
        ({"rule": "decided", "waves": [0, 4]}, "budget.waves: must be at least 1"),
        ({"rule": "decided", "waves": []}, "budget.waves: must be at least 1"),
        ({"rule": "decided", "waves": "4, 8"}, "budget.waves: must be a list of whole numbers"),
        ({"rule": "decided", "waves": [4, 8.5]}, "budget.waves: must be a list of whole numbers"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        parse_budget(config)
    assert "\n" not in str(raised.value)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="scores has shape"):
        Prefix(np.zeros((2, 3), dtype=np.int64), np.zeros((2, 2)))
