"""Beams: the record of one, and batches of them. As for trajectories no torch is imported: passing on costs little."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from latent_core.columns import ColumnBatch
from latent_core.trajectory import FloatArray, Trajectory, TrajectoryBatch


@dataclass(frozen=True)
class Beam:
    """A beam at the end of its search.

    Attributes:
        trajectory: Its record; `sample_index` is its rank, 0 for the best. Its FLOPs are an even share of all that the
            search computed with the reasoner for this question, pruned continuations included.
        step_scores: r_t of its steps, float32 [T].
        score_flops: An even share of what the search computed with the reward model, the prompt left out.
        score_prompt_flops: FLOPs of the reward model's one reading of the prompt.
    """

    trajectory: Trajectory
    step_scores: FloatArray
    score_flops: float
    score_prompt_flops: float

    @property
    def score(self) -> float:
        """Cumulative reward."""
        return float(self.step_scores.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class BeamBatch(ColumnBatch[Beam]):
    """Beams, column by column; iterating yields `Beam` records.

    Attributes:
        trajectories: As in `Beam`, as all that follows.
        step_scores: float32 [rows, T].
        score_flops: float64 [rows].
        score_prompt_flops: float64 [rows].
    """

    trajectories: TrajectoryBatch
    step_scores: FloatArray
    score_flops: NDArray[np.float64]
    score_prompt_flops: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """Cumulative rewards, float64 [rows]."""
        total: NDArray[np.float64] = self.step_scores.sum(axis=1, dtype=np.float64)
        return total

    @classmethod
    def failed(cls, question_id: str, beams: int, steps: int, error: str) -> Self:
        """Return the beams of a question that could not be computed: wrong, without a vote, and counted."""
        rows = TrajectoryBatch.failed([question_id] * beams, range(beams), [error] * beams)
        return cls(rows, np.full((beams, steps), np.nan, np.float32), np.zeros(beams), np.zeros(beams))

    def without_latents(self) -> Self:
        """Return the batch without latent vectors."""
        return replace(self, trajectories=self.trajectories.without_latents())

    def _row(self, row: int) -> Beam:
        return Beam(
            self.trajectories[row],
            self.step_scores[row],
            float(self.score_flops[row]),
            float(self.score_prompt_flops[row]),
        )
