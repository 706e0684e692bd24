"""Sampled trajectories: the record of one, and batches of them column by column.

Kept apart from the engine so that processes which only pass records on need not import torch.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from latent_core.columns import ColumnBatch, Ragged
from latent_core.tasks.base import Problem

FloatArray = NDArray[np.float32]
LatentArray = NDArray[np.float16] | NDArray[np.float32]

CutAnswers = Literal["vote", "abstain"]
"""What becomes of an answer that was cut off at the largest number of tokens: "vote" takes it like any other, "abstain"
takes it like one that cannot be read: it does not vote, and it is not right."""

NO_TOKEN = -1
"""Stands for the last token of an answer without tokens; no token has this id."""


def is_cut(
    written: NDArray[Any], last: NDArray[Any], limit: int | NDArray[np.int64], end_ids: Collection[int]
) -> NDArray[np.bool_]:
    """Return which answers were cut: they have as many tokens as they may have, and the last is no end token.

    Args:
        written: Tokens of each answer, int [n].
        last: The last of them that does not show thinking, int [n]; `NO_TOKEN` where there is none. An end token ends
            an answer wherever it stands, so one before the last cannot be there.
        limit: The most tokens of an answer, or of each, int64 [n].
        end_ids: The tokens that end an answer.
    """
    return (written >= limit) & ~np.isin(last, list(end_ids))


class Trajectory(NamedTuple):
    """One sampled trajectory, as it is recorded. Many of them are a `TrajectoryBatch`.

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
        answer_logprob: Log-probability of the answer: the sum over its `answer_tokens` tokens, the end token included,
            of the natural logarithm of each one's probability under the model's own distribution at temperature 1,
            whatever chose it. That of a cut answer is the sum over what was written, NaN where nothing was. None for a
            failed row, and where a store is older than the column.
        token_entropy: Mean over the same tokens of the entropy of the distribution that each was chosen from, in nats;
            None likewise.
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
    answer_logprob: float | None = None
    token_entropy: float | None = None

    @classmethod
    def failed(cls, problem: Problem, sample_index: int, error: str) -> "Trajectory":
        """Return the record of a trajectory that could not be computed: wrong, without a vote, and counted."""
        return _failed(problem.question_id, sample_index, error)


def _failed(question_id: str, sample_index: int, error: str) -> Trajectory:
    return Trajectory(question_id, sample_index, "", None, False, 0, 0, (), None, 0.0, 0.0, 0.0, error)


@dataclass(frozen=True, eq=False)
class TrajectoryBatch(ColumnBatch[Trajectory]):
    """Sampled trajectories, column by column; iterating yields `Trajectory` records.

    Attributes:
        question_id: As in `Trajectory`, as all that follows.
        sample_index: int64 [rows].
        answer_text: One text a row.
        answer: One text or None a row.
        correct: bool [rows].
        latent_steps: int32 [rows].
        answer_tokens: int32 [rows].
        answer_ids: int32 values.
        latents: float16 or float32 values, [any number, hidden size].
        prompt_flops: float64 [rows].
        flops: float64 [rows].
        seconds: float64 [rows].
        error: One text or None a row.
        cut: bool [rows].
        answer_logprob: float32 [rows], NaN where there is none.
        token_entropy: float32 [rows], NaN where there is none.
    """

    question_id: list[str]
    sample_index: NDArray[np.int64]
    answer_text: list[str]
    answer: list[str | None]
    correct: NDArray[np.bool_]
    latent_steps: NDArray[np.int32]
    answer_tokens: NDArray[np.int32]
    answer_ids: Ragged
    latents: Ragged
    prompt_flops: NDArray[np.float64]
    flops: NDArray[np.float64]
    seconds: NDArray[np.float64]
    error: list[str | None]
    cut: NDArray[np.bool_]
    answer_logprob: NDArray[np.float32]
    token_entropy: NDArray[np.float32]

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory]) -> Self:
        """Return records as a batch."""
        rows = list(trajectories)
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in Trajectory._fields}
        for name, dtype in _DTYPES.items():
            columns[name] = np.array(columns[name], dtype)
        columns["answer_ids"] = Ragged.of(columns["answer_ids"], np.int32)
        precision = next((row.latents.dtype for row in rows if row.latents is not None), np.float32)
        columns["latents"] = Ragged.of(columns["latents"], precision)
        return cls(**columns)

    @classmethod
    def failed(cls, question_ids: Sequence[str], samples: Iterable[int], errors: Sequence[str]) -> Self:
        """Return trajectories that could not be computed, see `Trajectory.failed`."""
        rows = zip(question_ids, samples, errors, strict=True)
        return cls.of(_failed(question_id, sample, error) for question_id, sample, error in rows)

    def judged(self, cut_answers: CutAnswers) -> Self:
        """Return the batch as it counts: under "abstain", a cut answer is none, and wrong."""
        if cut_answers == "vote" or not self.cut.any():
            return self
        answer = [None if cut else one for one, cut in zip(self.answer, self.cut.tolist(), strict=True)]
        return replace(self, answer=answer, correct=self.correct & ~self.cut)

    def without_latents(self) -> Self:
        """Return the batch without latent vectors."""
        return replace(self, latents=Ragged.absent(len(self)))

    def _row(self, row: int) -> Trajectory:
        ids = self.answer_ids[row]
        return Trajectory(
            self.question_id[row],
            int(self.sample_index[row]),
            self.answer_text[row],
            self.answer[row],
            bool(self.correct[row]),
            int(self.latent_steps[row]),
            int(self.answer_tokens[row]),
            () if ids is None else tuple(ids.tolist()),
            self.latents[row],
            float(self.prompt_flops[row]),
            float(self.flops[row]),
            float(self.seconds[row]),
            self.error[row],
            bool(self.cut[row]),
            _known(self.answer_logprob[row]),
            _known(self.token_entropy[row]),
        )


def _known(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


_DTYPES: dict[str, Any] = {
    "sample_index": np.int64,
    "correct": np.bool_,
    "latent_steps": np.int32,
    "answer_tokens": np.int32,
    "prompt_flops": np.float64,
    "flops": np.float64,
    "seconds": np.float64,
    "cut": np.bool_,
    "answer_logprob": np.float32,
    "token_entropy": np.float32,
}
