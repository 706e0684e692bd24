"""Exploration dynamics of a trial: measures per latent step, added up over blocks of questions.

What is kept of a block is one number per question, step and measure, and a covariance per step, so memory does not
grow with the latents. Every mean is one over questions, with its interval.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from latent_core.dynamics.block import LatentBlock
from latent_core.dynamics.dispersion import distance_of_mean, last_latents, pairwise_cosine_distance, squared_shift
from latent_core.dynamics.spectrum import WithinCovariance
from latent_core.dynamics.thoughts import departures, effective_number, sequence_codes, variance_between
from latent_core.selection.estimators import FloatArray, auc_by_question
from latent_core.selection.intervals import Interval, mean_interval, ratio_interval, unbounded_interval

MOST_SAMPLES: Final = 64
"""Samples of a question that are looked at, at most."""

COSINE_DISTANCE: Final = "cosine_distance"
GREEDY_DISTANCE: Final = "greedy_distance"
GREEDY_SHIFT: Final = "greedy_shift"
COMPONENTS: Final = "components_90"
EFFECTIVE_THOUGHTS: Final = "effective_thoughts"
BETWEEN_THOUGHTS: Final = "variance_between_thoughts"
LEAVES: Final = "leaves_greedy_path"
RIGHT_OF_LEAVING: Final = "right_of_leaving"
ON_PATH: Final = "on_greedy_path"
RIGHT_ON_PATH: Final = "right_on_path"
AUC: Final = "auc"

MEASURES: Final = (
    COSINE_DISTANCE,
    GREEDY_DISTANCE,
    GREEDY_SHIFT,
    COMPONENTS,
    EFFECTIVE_THOUGHTS,
    BETWEEN_THOUGHTS,
    LEAVES,
    RIGHT_OF_LEAVING,
    ON_PATH,
    RIGHT_ON_PATH,
    AUC,
)
"""Names of the measures, in the order in which they are reported."""


@dataclass(frozen=True)
class Measured:
    """A measure at a latent step.

    Attributes:
        measure: One of `MEASURES`.
        step: Latent step, from 1 on.
        value: Over all questions that have one.
        lo: Lower end of its 95 % interval; NaN where it has none.
        hi: Upper end.
        questions: How many questions it is of.
    """

    measure: str
    step: int
    value: float
    lo: float
    hi: float
    questions: int


class Dynamics:
    """Adds up the measures of one trial."""

    def __init__(self, steps: int, width: int) -> None:
        """Begin with nothing.

        Args:
            steps: T, the most latent steps of a trajectory.
            width: Hidden size.
        """
        self._steps = steps
        self._covariance = WithinCovariance(steps, width)
        self._values: dict[str, list[FloatArray]] = {}
        self._last: list[FloatArray] = []

    @property
    def spectrum_steps(self) -> int:
        """Steps whose principal components are counted: those whose covariances fit into memory."""
        return self._covariance.steps

    def add(self, block: LatentBlock) -> None:
        """Add some questions."""
        latents, present = block.latents, block.present & block.valid[:, :, None]
        if not present.all():
            latents = latents * present[..., None]
        self._keep(COSINE_DISTANCE, pairwise_cosine_distance(latents, present))
        self._last.append(pairwise_cosine_distance(*last_latents(latents, present))[:, 0])
        self._covariance.add(latents, present)
        if block.greedy is not None and block.greedy_present is not None:
            greedy = block.greedy, block.greedy_present
            self._keep(GREEDY_DISTANCE, distance_of_mean(latents, present, *greedy))
            self._keep(GREEDY_SHIFT, squared_shift(latents, present, *greedy))
        if block.thoughts is not None:
            self._add_thoughts(block)
            between, total = variance_between(latents, present, block.thoughts)
            self._keep(BETWEEN_THOUGHTS, between)
            self._keep(_TOTAL, total)
        if block.scores is not None:
            areas = [auc_by_question(block.scores[:, :, step], block.correct) for step in range(block.steps)]
            self._keep(AUC, np.stack(areas, axis=1))

    def _add_thoughts(self, block: LatentBlock) -> None:
        assert block.thoughts is not None
        codes = sequence_codes(block.thoughts)
        numbers = [effective_number(codes[:, :, step], block.valid) for step in range(block.steps)]
        # Who has ended keeps the sequence that it has.
        self._keep(EFFECTIVE_THOUGHTS, self._carried(np.stack(numbers, axis=1)))
        if block.greedy_thoughts is None:
            return
        first, compared = departures(block.thoughts, block.greedy_thoughts, block.valid)
        places = np.arange(self._steps)
        # Behind the last step of a block nobody thinks: who has not left by then never does.
        first = np.where(first == block.steps, self._steps, first)
        leaving = (first[..., None] == places) & compared[..., None]
        staying = (first[..., None] > places) & compared[..., None]
        self._keep(_COMPARED, np.repeat(compared.sum(axis=1)[:, None], self._steps, axis=1).astype(np.float64))
        for name, right, members in (
            (LEAVES, RIGHT_OF_LEAVING, leaving),
            (ON_PATH, RIGHT_ON_PATH, staying),
        ):
            self._keep(name, members.sum(axis=1).astype(np.float64))
            self._keep(right, (members & block.correct[..., None]).sum(axis=1).astype(np.float64))

    def _keep(self, name: str, values: FloatArray) -> None:
        """Keep values [Q, steps of the block]; behind its last step there is nothing."""
        filled = np.full((len(values), self._steps), np.nan)
        filled[:, : values.shape[1]] = values
        self._values.setdefault(name, []).append(filled)

    def _carried(self, values: FloatArray) -> FloatArray:
        if not values.shape[1]:
            return values
        return np.concatenate([values, np.repeat(values[:, -1:], self._steps - values.shape[1], axis=1)], axis=1)

    def last_dispersion(self) -> Interval:
        """Return the mean pairwise cosine distance of the samples' last latents."""
        values = np.concatenate(self._last) if self._last else np.empty(0)
        return unbounded_interval(values, bounds=(0.0, 2.0))

    def measured(self) -> list[Measured]:
        """Return all measures that are known, by measure and step."""
        return [one for name in MEASURES for one in self._of(name) if not math.isnan(one.value)]

    def _of(self, name: str) -> Iterator[Measured]:
        if name == COMPONENTS:
            for step in range(self._steps):
                questions = self._known(COSINE_DISTANCE, step)
                yield Measured(name, step + 1, self._covariance.components(step), math.nan, math.nan, questions)
        elif name in self._values:
            for step in range(self._steps):
                yield Measured(name, step + 1, *self._interval(name, step), self._known(_OF.get(name, name), step))

    def _column(self, name: str, step: int) -> FloatArray:
        return np.concatenate([values[:, step] for values in self._values[name]])

    def _known(self, name: str, step: int) -> int:
        values = self._column(name, step) if name in self._values else np.empty(0)
        # Of a part of something, questions without any of it do not count.
        return int(np.count_nonzero(values > 0 if name in _OF.values() else ~np.isnan(values)))

    def _interval(self, name: str, step: int) -> Interval:
        values = self._column(name, step)
        if name in _OF:
            return ratio_interval(np.nan_to_num(values), np.nan_to_num(self._column(_OF[name], step)))
        if name == AUC:
            known = values[~np.isnan(values)]
            return mean_interval(known) if len(known) else Interval(math.nan, math.nan, math.nan)
        if name == GREEDY_SHIFT:
            squares = unbounded_interval(values)
            return Interval(*(math.sqrt(max(end, 0.0)) if not math.isnan(end) else end for end in squares))
        bounds = {COSINE_DISTANCE: (0.0, 2.0), EFFECTIVE_THOUGHTS: (1.0, math.inf)}.get(name, (0.0, math.inf))
        return unbounded_interval(values, bounds=bounds)


_TOTAL, _COMPARED = "total variance", "compared samples"
_OF: Final = {
    BETWEEN_THOUGHTS: _TOTAL,
    LEAVES: _COMPARED,
    ON_PATH: _COMPARED,
    RIGHT_OF_LEAVING: LEAVES,
    RIGHT_ON_PATH: ON_PATH,
}
"""Measures that are parts of something, and of what."""
