"""Gain table: what further samples of a question are worth, by what its samples so far look like.

A question at the end of a wave is in a state: the bin of the probability that its present answer is right, as a
logistic regression on the samples so far sees it. The table holds, for every state, how often that answer was right,
and which state came next. The worth of going on is then the index of an optimal stopping problem: the largest expected
gain in accuracy per expected further sample over all ways of stopping later (Gittins 1979, "Bandit processes and
dynamic allocation indices"; here of a chain that is stopped, not played). It is highest where the samples promise
something and are not sure yet; a question that is sure is stopped, and so is one that is hopeless.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from latent_core.errors import UserError
from latent_core.selection.estimators import FloatArray
from latent_core.settings import Settings

GAIN_FILE = "gain_tables.json"
"""Name of the file beside a reward model's weights; it holds `GainTables.model_dump_json()`."""

_LARGEST_FEATURE = 4.0
_BISECTIONS = 50
_POINTS = 16


class GainStage(Settings):
    """What is known of questions at the end of one wave.

    Attributes:
        samples: Samples of a question.
        means: Of each feature, over questions.
        scales: Standard deviation of each feature.
        coefficients: Of the logistic regression on standardised features, the constant first.
        edges: Probabilities between which the bins lie, ascending, one fewer than bins.
        share: Share of questions in each bin.
        credit: Accuracy of the present answer in each bin.
        moves: Probability of each bin of the next wave, by bin; empty at the last wave.
    """

    samples: int = Field(ge=1)
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    edges: tuple[float, ...]
    share: tuple[float, ...]
    credit: tuple[float, ...]
    moves: tuple[tuple[float, ...], ...] = ()

    def right(self, features: FloatArray) -> FloatArray:
        """Return the probability [R] that the present answer is right, of questions with features [R, F]."""
        z = standardised(features, np.array(self.means), np.array(self.scales))
        return logistic(z @ np.array(self.coefficients))

    @property
    def bounds(self) -> FloatArray:
        """Probabilities between which each bin lies, [bins + 1]."""
        return np.array([0.0, *self.edges, 1.0])

    @property
    def centres(self) -> FloatArray:
        """Probability in the middle of each bin, [bins]."""
        return np.asarray((self.bounds[1:] + self.bounds[:-1]) / 2)


class GainTable(Settings):
    """What is known of one aggregation, wave by wave.

    Attributes:
        temperature: Of the vote weights that features are made of.
        stages: One per wave, by increasing samples.
    """

    temperature: float = Field(gt=0)
    stages: tuple[GainStage, ...]


class GainTables(Settings):
    """What was fitted on a LatentRM's validation questions, by aggregation and features.

    Attributes:
        questions: Number of these questions.
        samples: Samples of each of them.
        sampler: What sampled them, in words.
        tables: By aggregation and features, see `latent_core.budgets.gain_features.table_name`.
    """

    questions: int = Field(ge=1)
    samples: int = Field(ge=1)
    sampler: str = ""
    tables: Mapping[str, GainTable]


def read_gain_tables(directory: Path) -> GainTables | None:
    """Read what was fitted for the LatentRM in a directory; None where nothing was.

    Raises:
        UserError: If the file is there and is not valid.
    """
    path = directory / GAIN_FILE
    if not path.is_file():
        return None
    try:
        return GainTables.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise UserError(f"{path}: is not valid: {' '.join(str(error).split())}") from error


@dataclass(frozen=True, eq=False)
class GainChain:
    """A gain table at the waves of a budget.

    Attributes:
        waves: Samples at the end of each wave.
        start: [bins], share of questions in each bin at the end of the first wave.
        credit: By wave, [bins], accuracy of stopping there.
        moves: By wave but the last, [bins, bins of the next wave].
        index: By wave but the last, [bins], largest expected gain per further sample, in the middle of each bin.
        within: By wave but the last, [bins, points], the same at probabilities spread evenly over each bin: linear
            between the middles of bins, so that a price that lies between two bins parts one of them.
    """

    waves: tuple[int, ...]
    start: FloatArray
    credit: list[FloatArray]
    moves: list[FloatArray]
    index: list[FloatArray]
    within: list[FloatArray]

    def mean_samples(self, threshold: float) -> float:
        """Mean samples of a question that goes on while its index is above the threshold."""
        mean, still = float(self.waves[0]), self.start
        for before, behind, within, moves in zip(self.waves, self.waves[1:], self.within, self.moves, strict=False):
            still = still * (within > threshold).mean(axis=1)
            mean += (behind - before) * float(still.sum())
            still = still @ moves
        return mean

    def threshold_for(self, mean: float) -> float:
        """Return the least threshold with which questions get at most so many samples in the mean."""
        levels = np.unique(np.concatenate([*(within.ravel() for within in self.within), [-1.0]]))
        place = bisect_left(levels, True, key=lambda level: self.mean_samples(float(level)) <= mean + 1e-9)
        return float(levels[place])


def chain_of(table: GainTable, waves: Sequence[int], *, smooth: bool = True) -> GainChain:
    """Look a budget's waves up in a table, and compute the worth of going on from every state.

    Args:
        table: The table.
        waves: The waves.
        smooth: Whether that worth is linear between the middles of bins; else it is the same all over a bin.

    Raises:
        UserError: If a wave is not one of the table's.
    """
    known = [stage.samples for stage in table.stages]
    missing = [n for n in waves if n not in known]
    if missing:
        raise UserError(
            f"budget.waves {list(waves)}: the LatentRM's table of gains has waves {known}; take some of these, or fit "
            "another table with `latentswarm report RUN_DIR --fit-gain`"
        )
    places = [known.index(n) for n in waves]
    moves = []
    for first, last in pairwise(places):
        product = np.array(table.stages[first].moves)
        for place in range(first + 1, last):
            product = product @ np.array(table.stages[place].moves)
        moves.append(product)
    credit = [np.array(table.stages[place].credit) for place in places]
    index = [_index(waves, credit, moves, wave) for wave in range(len(waves) - 1)]
    stages = [table.stages[place] for place in places]
    within = [
        np.interp(_spread(stage), stage.centres, own) if smooth else own[:, None]
        for stage, own in zip(stages, index, strict=False)
    ]
    return GainChain(tuple(waves), np.array(stages[0].share), credit, moves, index, within)


def _spread(stage: GainStage) -> FloatArray:
    """Probabilities spread evenly over each bin, [bins, points]."""
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.asarray(stage.bounds[:-1, None] + np.diff(stage.bounds)[:, None] * shares)


def _index(waves: Sequence[int], credit: list[FloatArray], moves: list[FloatArray], wave: int) -> FloatArray:
    """Price of a sample [bins] at which going on at the end of a wave is worth exactly as much as stopping."""
    # The worth of going on falls with the price, and stopping has no price: there is one crossing.
    low, high = np.full(len(credit[wave]), -1.0), np.full(len(credit[wave]), 1.0)
    for _ in range(_BISECTIONS):
        price = (low + high) / 2
        # [bins of the wave whose index is wanted, bins of the wave that is looked at]
        worth = np.broadcast_to(credit[-1], (len(price), len(credit[-1])))
        for later in range(len(waves) - 2, wave - 1, -1):
            further = worth @ moves[later].T - price[:, None] * (waves[later + 1] - waves[later])
            worth = np.maximum(further, credit[later]) if later > wave else further
        pays = np.diagonal(worth) > credit[wave]
        low, high = np.where(pays, price, low), np.where(pays, high, price)
    return np.asarray((low + high) / 2)


def standardised(features: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return a column of ones and the features in units of their scales, cut to +-4, [R, 1 + F]; NaN is the mean."""
    known = np.where(np.isnan(features), means, features)
    z = np.clip((known - means) / scales, -_LARGEST_FEATURE, _LARGEST_FEATURE)
    return np.concatenate([np.ones((len(z), 1)), z], axis=1)


def logistic(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -math.log(1e12), math.log(1e12)))))
