"""Replay: what a rule would have come to, from a store that has all samples, by random orders of them.

Samples of a question are exchangeable: every order of them is as likely as the one in which they were drawn. A rule is
run on random orders of the M stored samples of each question, and accuracy and samples used are averaged over orders.
That is unbiased for every rule whose horizon is at most M, that looks at nothing but the prefix, and that was fitted on
other questions. The orders are functions of the number of the question alone.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latent_core.budgets.base import Decide
from latent_core.budgets.prefix import Prefix
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.estimators import BoolArray, FloatArray, IntArray

ORDERS = 40
"""Random orders of each question's samples."""

REPLAYED = ("majority_vote", "best_of_n", "weighted_vote")
"""Aggregations whose accuracy can be replayed: of the plain votes and of what the latent-only score says."""

_ROWS_AT_ONCE = 4096
# Sums of equal weights differ in their last bits by the order of addition: what differs by less is a tie.
_TIE = 1e-9


class Replay(NamedTuple):
    """What a rule came to, averaged over orders.

    Attributes:
        credit: By aggregation, accuracy of every question [Q], in [0, 1].
        samples: Samples used of every question [Q].
        waves: Waves used of every question [Q].
    """

    credit: Mapping[str, FloatArray]
    samples: FloatArray
    waves: FloatArray


class View(NamedTuple):
    """A prefix, and beside it what a rule must not see.

    Attributes:
        prefix: What has been seen.
        correct: [R, k], whether each sample is right.
        weights: [R, k], weights of the votes; None where there are none.
    """

    prefix: Prefix
    correct: BoolArray
    weights: FloatArray | None


def orders_of(questions: int, samples: int, orders: int = ORDERS, first_question: int = 0) -> IntArray:
    """Random orders of the samples of each question, [Q, orders, M], by counter: the same for a question everywhere."""
    drawn = [
        np.random.Generator(np.random.Philox(key=question)).random((orders, samples)).argsort(axis=1)
        for question in range(first_question, first_question + questions)
    ]
    return np.array(drawn, dtype=np.int64).reshape(questions, orders, samples)


def views(outcomes: Outcomes, orders: IntArray, waves: Sequence[int]) -> Iterator[View]:
    """Yield the prefixes of all orders at the end of each wave, question by question, R = Q x orders."""
    questions = np.arange(len(orders))[:, None, None]

    def rows(array: np.ndarray, n: int) -> np.ndarray:
        return array[questions, orders[:, :, :n]].reshape(-1, n)

    for n in waves:
        scores = None if outcomes.scores is None else rows(outcomes.scores, n)
        weights = None if outcomes.vote_weights is None else rows(outcomes.vote_weights, n)
        sure = None if outcomes.confidences is None else rows(outcomes.confidences, n)
        likely = None if outcomes.confidence_weights is None else rows(outcomes.confidence_weights, n)
        yield View(Prefix(rows(outcomes.votes, n), scores, sure, likely), rows(outcomes.correct, n), weights)


def credit_of(aggregation: str, view: View) -> FloatArray:
    """Accuracy of what an aggregation makes of each prefix [R], ties broken at random; 0 where it chooses nothing.

    Raises:
        ValueError: If it cannot be replayed, or the samples have no scores.
    """
    if aggregation == "best_of_n":
        scores = view.prefix.known_scores()
        best = (scores == scores.max(axis=1, keepdims=True)) & np.isfinite(scores)
        return np.asarray((best & view.correct).sum(axis=1) / np.maximum(best.sum(axis=1), 1))
    if aggregation == "majority_vote":
        totals: FloatArray = view.prefix.counts.astype(np.float64)
    elif aggregation == "weighted_vote" and view.weights is not None:
        totals = view.prefix.totals(view.weights)
    else:
        raise ValueError(f"{aggregation} cannot be replayed on these samples")
    most = totals.max(axis=1, keepdims=True)
    winners = (totals >= most * (1.0 - _TIE)) & (most > 0)
    right = winners & view.prefix.any_of(view.correct & (view.prefix.ranks >= 0))
    return np.asarray(right.sum(axis=1) / np.maximum(winners.sum(axis=1), 1))


def replayable(outcomes: Outcomes) -> tuple[str, ...]:
    """Names of the aggregations that can be replayed on these outcomes."""
    has = {"best_of_n": outcomes.scores is not None, "weighted_vote": outcomes.vote_weights is not None}
    return tuple(name for name in REPLAYED if has.get(name, True))


def replay(
    outcomes: Outcomes,
    rules: Mapping[str, Decide],
    waves: Sequence[int],
    orders: IntArray | None = None,
    *,
    asked_at: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Replay]:
    """Run rules on random orders of stored samples.

    Args:
        outcomes: Of Q questions with M samples.
        rules: By name, whether a question goes on at the end of a wave.
        waves: Samples at the end of each wave, none beyond M; at the last one all stop.
        orders: [Q, orders, M], each a permutation of 0 .. M - 1; random ones where it is not given.
        asked_at: By name, the waves that a rule has, where these are not all.

    Returns:
        By name, what each rule came to.

    Raises:
        ValueError: If a wave lies beyond the samples.
    """
    if waves[-1] > outcomes.samples:
        raise ValueError(f"waves {list(waves)} need more than the {outcomes.samples} samples of a question")
    orders = orders_of(outcomes.questions, outcomes.samples) if orders is None else orders
    at_once = max(1, _ROWS_AT_ONCE // orders.shape[1])
    parts = [
        _replay(
            _part(outcomes, slice(first, first + at_once)),
            rules,
            waves,
            orders[first : first + at_once],
            {rule: frozenset((asked_at or {}).get(rule, waves)) for rule in rules},
        )
        for first in range(0, outcomes.questions, at_once)
    ]
    return {name: _joined([part[name] for part in parts]) for name in rules}


def _replay(
    outcomes: Outcomes,
    rules: Mapping[str, Decide],
    waves: Sequence[int],
    orders: IntArray,
    asked_at: Mapping[str, Container[int]],
) -> dict[str, Replay]:
    names = replayable(outcomes)
    rows = outcomes.questions * orders.shape[1]
    open_rows = {rule: np.ones(rows, dtype=np.bool_) for rule in rules}
    credit = {rule: {name: np.zeros(rows) for name in names} for rule in rules}
    samples = {rule: np.zeros(rows) for rule in rules}
    used = {rule: np.zeros(rows) for rule in rules}
    for n, view in zip(waves, views(outcomes, orders, waves), strict=True):
        now = {name: credit_of(name, view) for name in names}
        for rule, decide in rules.items():
            if n not in asked_at[rule]:
                continue
            used[rule][open_rows[rule]] += 1
            goes_on = decide(view.prefix) if n < waves[-1] else np.zeros(rows, dtype=np.bool_)
            stops = open_rows[rule] & ~goes_on
            samples[rule][stops] = n
            for name in names:
                credit[rule][name][stops] = now[name][stops]
            open_rows[rule] &= goes_on

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(values.reshape(outcomes.questions, -1).mean(axis=1))

    return {
        rule: Replay({name: mean(credit[rule][name]) for name in names}, mean(samples[rule]), mean(used[rule]))
        for rule in rules
    }


def _part(outcomes: Outcomes, rows: slice) -> Outcomes:
    def cut(array: FloatArray | None) -> FloatArray | None:
        return None if array is None else array[rows]

    return Outcomes(
        outcomes.correct[rows],
        outcomes.votes[rows],
        cut(outcomes.scores),
        cut(outcomes.vote_weights),
        confidences=cut(outcomes.confidences),
        confidence_weights=cut(outcomes.confidence_weights),
    )


def _joined(parts: Sequence[Replay]) -> Replay:
    return Replay(
        {name: np.concatenate([part.credit[name] for part in parts]) for name in parts[0].credit},
        np.concatenate([part.samples for part in parts]),
        np.concatenate([part.waves for part in parts]),
    )
