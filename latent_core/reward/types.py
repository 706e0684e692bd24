"""Scores and labels: the record of one, and batches of them. Whoever only passes them on imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from latent_core.columns import ColumnBatch, Ragged
from latent_core.trajectory import FloatArray, LatentArray, Trajectory, TrajectoryBatch


@dataclass(frozen=True)
class QuestionToScore:
    """The trajectories of one question.

    Attributes:
        question: The text that goes into the prompt.
        latents: The fed-back vectors of each trajectory, [latent steps, hidden size]; None for one that failed.
        answer_ids: The answer tokens of each trajectory, the end-of-text token included.
    """

    question: str
    latents: tuple[LatentArray | None, ...]
    answer_ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Score:
    """What a LatentRM makes of one trajectory.

    Attributes:
        step_scores: r_t of every latent step, float32 [latent steps]; None where there is no score.
        answer_reward: r_{T+1}, read at the last answer token; None where answers are not scored.
        prompt_flops: FLOPs of reading the prompt once for all trajectories of the question.
        flops: FLOPs of reading the latents of this trajectory.
        answer_flops: FLOPs of reading latents and answer; 0 where answers are not scored.
        seconds: Wall-clock share of this trajectory in its batch.
        error: Why there is no score, or None.
    """

    step_scores: FloatArray | None
    answer_reward: float | None
    prompt_flops: float
    flops: float
    answer_flops: float
    seconds: float
    error: str | None = None

    @property
    def score(self) -> float | None:
        """The latent-only score, sum_t r_t (arXiv 2510.07745)."""
        return None if self.step_scores is None else float(self.step_scores.sum(dtype=np.float64))

    @property
    def answer_score(self) -> float | None:
        """The answer-aware score: r_{T+1} added to the sum."""
        score = self.score
        return None if score is None or self.answer_reward is None else score + self.answer_reward

    @classmethod
    def failed(cls, error: str) -> "Score":
        """Return the record of a trajectory that could not be scored."""
        return cls(None, None, 0.0, 0.0, 0.0, 0.0, error)


@dataclass(frozen=True, eq=False)
class ScoreBatch(ColumnBatch[Score]):
    """Scores, column by column; iterating yields `Score` records.

    Attributes:
        step_scores: As in `Score`, as all that follows; float32 values.
        answer_reward: float64 [rows], NaN where there is none: one that is not finite is an error.
        prompt_flops: float64 [rows].
        flops: float64 [rows].
        answer_flops: float64 [rows].
        seconds: float64 [rows].
        error: One text or None a row.
    """

    step_scores: Ragged
    answer_reward: NDArray[np.float64]
    prompt_flops: NDArray[np.float64]
    flops: NDArray[np.float64]
    answer_flops: NDArray[np.float64]
    seconds: NDArray[np.float64]
    error: list[str | None]

    @classmethod
    def of(cls, scores: Sequence[Score]) -> Self:
        """Return records as a batch."""
        return cls(
            Ragged.of([one.step_scores for one in scores], np.float32),
            np.array([np.nan if one.answer_reward is None else one.answer_reward for one in scores], np.float64),
            np.array([one.prompt_flops for one in scores], np.float64),
            np.array([one.flops for one in scores], np.float64),
            np.array([one.answer_flops for one in scores], np.float64),
            np.array([one.seconds for one in scores], np.float64),
            [one.error for one in scores],
        )

    @property
    def score(self) -> NDArray[np.float64]:
        """The latent-only scores, float64 [rows]; NaN where there is none."""
        total, steps = np.full(len(self), np.nan), self.step_scores.packed()
        # Rows of one length are summed together, each as it is alone: adding up what is padded rounds differently.
        for length in np.unique(steps.lengths[steps.lengths >= 0]).tolist():
            rows = np.flatnonzero(steps.lengths == length)
            places = steps.starts[rows, None] + np.arange(length)
            total[rows] = steps.values[places].sum(axis=1, dtype=np.float64)
        return total

    @property
    def answer_score(self) -> NDArray[np.float64]:
        """The answer-aware scores, float64 [rows]; NaN where there is none."""
        total: NDArray[np.float64] = self.score + self.answer_reward
        return total

    @classmethod
    def failed(cls, rows: int, error: str) -> Self:
        """Return the batch of trajectories that could not be scored."""
        return cls.of([Score.failed(error)] * rows)

    def _row(self, row: int) -> Score:
        reward = float(self.answer_reward[row])
        return Score(
            self.step_scores[row],
            None if np.isnan(reward) else reward,
            float(self.prompt_flops[row]),
            float(self.flops[row]),
            float(self.answer_flops[row]),
            float(self.seconds[row]),
            self.error[row],
        )


@dataclass(frozen=True)
class LabelledTrajectory:
    """A candidate with the labels of its steps.

    Attributes:
        trajectory: The candidate, as it counts: where cut answers abstain, one with such an answer has none, and is
            wrong.
        labels: Share of successful completions after each latent step, float32 [its latent steps], the last one being
            the trajectory's own correctness; NaN for steps that were not labelled because no completions were asked
            for. None where the question's candidates are all right or all wrong: there is nothing to tell apart.
        label_flops: FLOPs of its completions.
        cut_completions: How many of its completions had their answers cut off.
    """

    trajectory: Trajectory
    labels: FloatArray | None
    label_flops: float = 0.0
    cut_completions: int = 0


@dataclass(frozen=True, eq=False)
class LabelledBatch(ColumnBatch[LabelledTrajectory]):
    """Labelled candidates, column by column; iterating yields `LabelledTrajectory` records.

    Attributes:
        trajectories: As in `LabelledTrajectory`, as all that follows.
        labels: float32 values.
        label_flops: float64 [rows].
        cut_completions: int64 [rows].
    """

    trajectories: TrajectoryBatch
    labels: Ragged
    label_flops: NDArray[np.float64]
    cut_completions: NDArray[np.int64]

    @classmethod
    def failed(cls, question_id: str, candidates: int, error: str) -> Self:
        """Return the candidates of a question that could not be computed."""
        rows = TrajectoryBatch.failed([question_id] * candidates, range(candidates), [error] * candidates)
        return cls(rows, Ragged.absent(candidates), np.zeros(candidates), np.zeros(candidates, np.int64))

    def _row(self, row: int) -> LabelledTrajectory:
        return LabelledTrajectory(
            self.trajectories[row], self.labels[row], float(self.label_flops[row]), int(self.cut_completions[row])
        )
