"""Blocks of questions as dense arrays: latents, thoughts, scores and outcomes of their samples, step by step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray

LatentArray = NDArray[np.float32]

ENDED = -1
"""Stands for the thought of a step that a trajectory did not take; no token has this id."""


@dataclass(frozen=True, eq=False)
class LatentBlock:
    """Some questions with their samples. A sample that ended earlier than others has no latent at later steps.

    Attributes:
        latents: [Q, N, T, d]; zeros where there is no latent.
        present: [Q, N, T], where there is one.
        valid: [Q, N], samples that did not fail; the others are left out of everything.
        correct: [Q, N], whether the sample's answer is right.
        greedy: [Q, T, d], latents of the greedy trajectory, zeros where there is none; None where it is not known.
        greedy_present: [Q, T]; all False for a question whose greedy trajectory failed.
        thoughts: [Q, N, T], the token that each latent decodes to, `ENDED` where there is no latent; None where that
            is not known.
        greedy_thoughts: [Q, T], the same of the greedy trajectory.
        scores: [Q, N, T], cumulative score of a LatentRM up to each step, NaN where there is none; None without one.
    """

    latents: LatentArray
    present: BoolArray
    valid: BoolArray
    correct: BoolArray
    greedy: LatentArray | None = None
    greedy_present: BoolArray | None = None
    thoughts: IntArray | None = None
    greedy_thoughts: IntArray | None = None
    scores: FloatArray | None = None

    @property
    def steps(self) -> int:
        """T, the most latent steps of a sample or of a greedy trajectory."""
        return int(self.present.shape[2])


def dense(rows: "list[NDArray[Any] | None]", steps: IntArray, most: int, width: int) -> tuple[LatentArray, BoolArray]:
    """Arrange the latents of rows, each one step after the other, as a dense array.

    Args:
        rows: Values of each row, `steps` x width of them; None for a row without latents.
        steps: Latent steps of each row [rows].
        most: T of the result, at least the largest number of steps.
        width: Hidden size.

    Returns:
        float32 [rows, most, width] with zeros where there is no latent, and bool [rows, most].
    """
    taken = np.array([0 if row is None else int(count) for row, count in zip(rows, steps, strict=True)], np.int64)
    present = np.arange(most) < taken[:, None]
    if len(rows) and present.all():
        whole = np.concatenate([row for row in rows if row is not None])
        return whole.astype(np.float32).reshape(len(rows), most, width), present
    filled = np.zeros((len(rows), most, width), np.float32)
    for row, values, count in zip(filled, rows, taken, strict=True):
        if values is not None and count:
            row[:count] = values.reshape(count, width)
    return filled, present
