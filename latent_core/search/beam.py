"""The record of a beam. Like that of a trajectory it imports no torch, so that passing it on costs little."""

from dataclasses import dataclass

import numpy as np

from latent_core.tasks.base import Problem
from latent_core.trajectory import FloatArray, Trajectory


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

    @classmethod
    def failed(cls, problem: Problem, rank: int, steps: int, error: str) -> "Beam":
        """Return the record of a beam that could not be computed: wrong, without a vote, and counted."""
        scores = np.full(steps, np.nan, dtype=np.float32)
        return cls(Trajectory.failed(problem, rank, error), scores, 0.0, 0.0)
