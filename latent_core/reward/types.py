"""What is scored or labelled and what comes of it, as plain records: whoever only passes them on imports no torch."""

from dataclasses import dataclass

import numpy as np

from latent_core.trajectory import FloatArray, LatentArray, Trajectory


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
