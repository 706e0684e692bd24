"""Fit of a gain table on questions whose answers are known and which nothing is reported of."""

from collections.abc import Sequence

import numpy as np

from latent_core.budgets.gain_features import GAINING, gain_features, table_name
from latent_core.budgets.gain_table import GainStage, GainTable, GainTables, logistic, standardised
from latent_core.budgets.replay import credit_of, orders_of, views
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.estimators import FloatArray, IntArray

FIT_ORDERS = 40
"""Random orders of each question's samples that a table is fitted on."""
MOST_BINS = 16
_QUESTIONS_PER_BIN = 25
_RIDGE = 1e-3
_NEWTON_STEPS = 30
_DIGITS = 6


def fit_gain_tables(
    outcomes: Outcomes, waves: Sequence[int], temperature: float, *, sampler: str = "", orders: int = FIT_ORDERS
) -> GainTables:
    """Fit a table for every aggregation, and a further one where samples say how sure the reasoner was of its answers.

    Args:
        outcomes: Of validation questions, with scores.
        waves: Samples at the end of each wave, increasing; those beyond the samples are left out.
        temperature: Of the vote weights.
        sampler: What sampled them, in words.
        orders: Random orders of each question's samples.

    Returns:
        The tables; the same for the same outcomes.

    Raises:
        ValueError: If there are no scores, or too few samples for a first wave.
    """
    outcomes.get("scores")
    within = [n for n in waves if n <= outcomes.samples]
    if not within:
        raise ValueError(f"{outcomes.samples} samples of a question are fewer than the first of waves {list(waves)}")
    bins = max(2, min(MOST_BINS, outcomes.questions // _QUESTIONS_PER_BIN))
    drawn = orders_of(outcomes.questions, outcomes.samples, orders)
    kinds = (False, True) if outcomes.confidence_weights is not None else (False,)
    tables = {
        table_name(name, own_confidence=own): _fit(name, outcomes, drawn, within, temperature, bins, own_confidence=own)
        for own in kinds
        for name in GAINING
    }
    return GainTables(questions=outcomes.questions, samples=outcomes.samples, sampler=sampler, tables=tables)


def _fit(
    name: str,
    outcomes: Outcomes,
    orders: IntArray,
    waves: Sequence[int],
    temperature: float,
    bins: int,
    *,
    own_confidence: bool,
) -> GainTable:
    stages: list[GainStage] = []
    before: IntArray | None = None
    for view in views(outcomes, orders, waves):
        features = gain_features(name, view.prefix, temperature, own_confidence=own_confidence)
        stage, state = _stage(view.prefix.samples, features, credit_of(name, view), bins)
        if before is not None:
            stages[-1] = stages[-1].model_copy(update={"moves": _moves(before, state, stages[-1], stage)})
        stages.append(stage)
        before = state
    return GainTable(temperature=temperature, stages=tuple(stages))


def _stage(samples: int, features: FloatArray, credit: FloatArray, bins: int) -> tuple[GainStage, IntArray]:
    """Fit one wave on features [R, F] and accuracies [R]; returns it and the bins [R]."""
    known = np.isfinite(features)
    number = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, features, 0.0).sum(axis=0) / number
    scales = np.sqrt((np.where(known, features - means, 0.0) ** 2).sum(axis=0) / number)
    means, scales = _rounded(means), _rounded(np.where(scales > 0, scales, 1.0))
    z = standardised(features, np.array(means), np.array(scales))
    coefficients = _rounded(_regression(z, credit))
    right = logistic(z @ np.array(coefficients))
    # Few distinct probabilities make fewer bins; edges are written as they are used.
    edges = tuple(sorted(set(_rounded(np.quantile(right, np.arange(1, bins) / bins)))))
    state = np.searchsorted(edges, right, side="right").astype(np.int64)
    held = np.bincount(state, minlength=len(edges) + 1)
    earned = np.bincount(state, credit, minlength=len(edges) + 1)
    # A bin that nobody is in says what its probability says.
    centres = np.concatenate([[0.0], edges, [1.0]])
    empty = (centres[1:] + centres[:-1]) / 2
    stage = GainStage(
        samples=samples,
        means=means,
        scales=scales,
        coefficients=coefficients,
        edges=edges,
        share=_rounded(held / held.sum()),
        credit=_rounded(np.where(held > 0, earned / np.maximum(held, 1), empty)),
    )
    return stage, state


def _moves(before: IntArray, behind: IntArray, first: GainStage, last: GainStage) -> tuple[tuple[float, ...], ...]:
    rows, columns = len(first.share), len(last.share)
    counts = np.bincount(before * columns + behind, minlength=rows * columns).reshape(rows, columns).astype(np.float64)
    # From where nobody came, anywhere.
    counts[counts.sum(axis=1) == 0] = np.array(last.share)
    return tuple(_rounded(row) for row in counts / counts.sum(axis=1, keepdims=True))


def _regression(z: FloatArray, credit: FloatArray) -> FloatArray:
    """Logistic regression with a small ridge, by Newton's method, on columns z [R, 1 + F] and accuracies [R]."""
    coefficients = np.zeros(z.shape[1])
    ridge = _RIDGE * len(z) * np.eye(z.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = logistic(z @ coefficients)
        slope = z.T @ (credit - p) - ridge @ coefficients
        curvature = (z * (p * (1 - p))[:, None]).T @ z + ridge
        coefficients = coefficients + np.linalg.solve(curvature, slope)
    return np.asarray(coefficients)


def _rounded(values: FloatArray) -> tuple[float, ...]:
    """Numbers with six digits, which is more than they are known by."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
