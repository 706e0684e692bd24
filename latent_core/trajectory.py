"""The record of one sampled trajectory.

Kept apart from the engine so that processes which only pass records on need not import torch.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from latent_core.tasks.base import Problem

FloatArray = NDArray[np.float32]
LatentArray = NDArray[np.float16] | NDArray[np.float32]


class Trajectory(NamedTuple):
    """One sampled trajectory, as it is recorded.

    A tuple, because a batch makes thousands while its GPU waits: frozen dataclasses take more than twice as long.

    Attributes:
        question_id: The question.
        sample_index: Which sample of the question this is; it addresses all random draws.
        answer_text: The decoded text.
        answer: The canonical answer in it, or None if it could not be read.
        correct: Whether the answer is right; an answer that cannot be read is wrong.
        latent_steps: Latent vectors fed back.
        answer_tokens: Answer tokens written, the end-of-text token included.
        answer_ids: Their ids.
        latents: The fed-back vectors, [latent_steps, hidden size]; None for a failed row, or where they are not kept.
        prompt_flops: FLOPs of reading the prompt where all samples of the question share it, else 0.
        flops: FLOPs of this trajectory alone, its own reading of the prompt included where it had one.
        seconds: Wall-clock share of this row in its batch.
        error: Why the row failed, or None.
    """

    question_id: str
    sample_index: int
    answer_text: str
    answer: str | None
    correct: bool
    latent_steps: int
    answer_tokens: int
    answer_ids: tuple[int, ...]
    latents: LatentArray | None
    prompt_flops: float
    flops: float
    seconds: float
    error: str | None = None

    @classmethod
    def of_columns(cls, **columns: Iterable[object]) -> "list[Self]":
        """Return trajectories whose fields are given column by column, which is the fastest way to make many.

        Args:
            columns: Every field by its name; the shortest column says how many trajectories there are.
        """
        return list(map(cls._make, zip(*(columns[field] for field in cls._fields), strict=False)))

    @classmethod
    def failed(cls, problem: Problem, sample_index: int, error: str) -> "Trajectory":
        """Return the record of a trajectory that could not be computed: wrong, without a vote, and counted."""
        return cls(problem.question_id, sample_index, "", None, False, 0, 0, (), None, 0.0, 0.0, 0.0, error)
