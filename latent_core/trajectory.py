"""The record of one sampled trajectory.

Kept apart from the engine so that processes which only pass records on need not import torch.
"""

from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from latent_core.tasks.base import Problem

FloatArray = NDArray[np.float32]
LatentArray = NDArray[np.float16] | NDArray[np.float32]

CutAnswers = Literal["vote", "abstain"]
"""What becomes of an answer that was cut off at the largest number of tokens: "vote" takes it like any other, "abstain"
takes it like one that cannot be read: it does not vote, and it is not right."""

NO_TOKEN = -1
"""Stands for the last token of an answer without tokens; no token has this id."""


def is_cut(written: NDArray[Any], last: NDArray[Any], limit: int, end_ids: Collection[int]) -> NDArray[np.bool_]:
    """Return which answers were cut: they have as many tokens as they may have, and the last is no end token.

    Args:
        written: Tokens of each answer, int [n].
        last: The last of them that does not show thinking, int [n]; `NO_TOKEN` where there is none. An end token ends
            an answer wherever it stands, so one before the last cannot be there.
        limit: The most tokens of an answer.
        end_ids: The tokens that end an answer.
    """
    return (written >= limit) & ~np.isin(last, list(end_ids))


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
        cut: Whether the answer was cut off: it has as many tokens as it may have, and no end token among them.
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
    cut: bool = False

    @classmethod
    def of_columns(cls, **columns: Iterable[object]) -> "list[Self]":
        """Return trajectories whose fields are given column by column, which is the fastest way to make many.

        Args:
            columns: Every field by its name; the shortest column says how many trajectories there are.
        """
        return list(map(cls._make, zip(*(columns[field] for field in cls._fields), strict=False)))

    def judged(self, cut_answers: CutAnswers) -> "Trajectory":
        """Return the record as it counts: under "abstain", a cut answer is none, and wrong."""
        return self._replace(answer=None, correct=False) if self.cut and cut_answers == "abstain" else self

    @classmethod
    def failed(cls, problem: Problem, sample_index: int, error: str) -> "Trajectory":
        """Return the record of a trajectory that could not be computed: wrong, without a vote, and counted."""
        return cls(problem.question_id, sample_index, "", None, False, 0, 0, (), None, 0.0, 0.0, 0.0, error)
