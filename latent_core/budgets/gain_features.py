"""Features of a question's samples so far, by which a gain table tells how likely its present answer is right."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from latent_core.budgets.prefix import Prefix
from latent_core.selection.estimators import BoolArray, FloatArray, IntArray

_WITH_CONFIDENCE = " own_confidence"


class Present(NamedTuple):
    """The present answers of R questions, and what votes and scores say of them.

    Attributes:
        features: [R, F].
        answers: [R, classes], which answers an aggregation may make of the samples: several where they tie, none where
            what it chooses cannot be read.
    """

    features: FloatArray
    answers: BoolArray


def _majority(seen: Prefix, temperature: float) -> Present:
    ordered = np.sort(seen.counts, axis=1)[:, ::-1] + 0.5
    rest = seen.samples + 1.0 - ordered[:, 0]
    distinct = (seen.counts > 0).sum(axis=1)
    found = np.stack([np.log(ordered[:, 0] / rest), np.log(ordered[:, 0] / ordered[:, 1]), np.log1p(distinct)], axis=1)
    return Present(found, (seen.counts == seen.counts.max(axis=1, keepdims=True)) & (seen.counts > 0))


def _weighted(seen: Prefix, temperature: float) -> Present:
    scores = seen.known_scores()
    best = scores.max(axis=1, keepdims=True)
    scored = np.isfinite(best[:, 0])
    weights = np.exp(np.clip((scores - np.where(np.isfinite(best), best, 0.0)) / temperature, -600.0, 0.0))
    totals = seen.totals(np.where(np.isfinite(scores), weights, 0.0))
    found = _of_totals(seen, totals, totals.argmax(axis=1), np.where(scored, best[:, 0], 0.0), scored)
    return Present(found, (totals == totals.max(axis=1, keepdims=True)) & (totals > 0))


def _best(seen: Prefix, temperature: float) -> Present:
    scores = seen.known_scores()
    best, sample = scores.max(axis=1), scores.argmax(axis=1)
    scored = np.isfinite(best)
    weights = np.exp(np.clip((scores - np.where(scored, best, 0.0)[:, None]) / temperature, -600.0, 0.0))
    totals = seen.totals(np.where(np.isfinite(scores), weights, 0.0))
    chosen = seen.ranks[np.arange(len(scores)), sample]
    # An answer that cannot be read has no votes: whatever stands in its place is as good as any.
    found = _of_totals(seen, totals, np.maximum(chosen, 0), np.where(scored, best, 0.0), scored)
    answers = np.arange(totals.shape[1]) == np.where(scored, chosen, -1)[:, None]
    return Present(found, answers)


def _of_totals(seen: Prefix, totals: FloatArray, answer: IntArray, best: FloatArray, scored: BoolArray) -> FloatArray:
    """Features of an answer [R] among totals of weights [R, classes]: its odds, its lead, its votes, the best score."""
    rows = np.arange(len(totals))
    own = totals[rows, answer]
    others = totals.copy()
    others[rows, answer] = 0.0
    # One after the other by size: neither the numbers that answers have nor classes without votes change the last bit.
    rest = np.sort(others, axis=1)[:, ::-1].cumsum(axis=1)[:, -1]
    odds = np.log((own + 1e-3) / (rest + 1e-3))
    lead = np.log((own + 1e-3) / (others.max(axis=1) + 1e-3))
    votes = seen.counts[rows, answer]
    agreed = np.log((votes + 0.5) / (seen.samples - votes + 0.5))
    support = np.log(own + 1e-3)
    found = np.stack([odds, lead, agreed, support, best], axis=1)
    # Without any score nothing is known: the least of everything.
    return np.where(scored[:, None], found, -np.inf)


def confidence_features(seen: Prefix, answers: BoolArray) -> FloatArray:
    """How sure the reasoner is of the present answer and of the likeliest other one, [R, 2].

    The first is the mean log-probability per token of the samples that gave the present answer, the second the highest
    one of a sample that gave another. Samples without a known one are left out; NaN where none is left. Of answers that
    tie, the present one is that with the higher mean: how answers are numbered does not matter.

    Args:
        seen: With confidences.
        answers: [R, classes], the answers that may be the present one.

    Raises:
        ValueError: If there are no confidences.
    """
    sure = seen.token_logprobs()
    known = ~np.isnan(sure)
    number = seen.totals(known.astype(np.float64))
    mean = np.where(number > 0, seen.totals(np.where(known, sure, 0.0)) / np.maximum(number, 1.0), -np.inf)
    highest = _highest(seen, np.where(known, sure, -np.inf))
    present = np.where(answers, mean, -np.inf)
    own = present.max(axis=1)
    equal = answers & (present == own[:, None])
    answer = np.where(equal, highest, -np.inf).argmax(axis=1)
    chosen = (np.arange(answers.shape[1]) == answer[:, None]) & equal
    other = np.where(chosen, -np.inf, highest).max(axis=1)
    found = np.stack([own, other], axis=1)
    return np.where(np.isfinite(found), found, np.nan)


def _highest(seen: Prefix, values: FloatArray) -> FloatArray:
    """The highest value among samples with each answer, [R, classes], of values [R, k]; minus infinity without any."""
    found = np.full(seen.counts.shape, -np.inf)
    row, sample = np.nonzero(seen.ranks >= 0)
    np.maximum.at(found, (row, seen.ranks[row, sample]), values[row, sample])
    return found


_PRESENT: Mapping[str, Callable[[Prefix, float], Present]] = {
    "majority_vote": _majority,
    "best_of_n": _best,
    "weighted_vote": _weighted,
}

GAINING = tuple(_PRESENT)
"""Aggregations whose accuracy may be what is to gain."""


def table_name(aggregation: str, *, own_confidence: bool = False) -> str:
    """Return the name of the table for an aggregation, with the reasoner's own confidence among its features or not."""
    return aggregation + _WITH_CONFIDENCE * own_confidence


def gain_features(aggregation: str, seen: Prefix, temperature: float, *, own_confidence: bool = False) -> FloatArray:
    """Return the features [R, F] of what has been seen, for the weights of votes at a temperature.

    Raises:
        ValueError: If they are to be made of scores or confidences, and there are none.
    """
    features, answers = _PRESENT[aggregation](seen, temperature)
    if not own_confidence:
        return features
    return np.concatenate([features, confidence_features(seen, answers)], axis=1)
