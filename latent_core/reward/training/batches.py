"""Labelled candidates of questions, and how some of them become the tensors of one update."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_core.reward.scoring import CandidateBatch

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledCandidate:
    """One trajectory of a question.

    Attributes:
        correct: Whether its answer is right.
        answer: Its canonical answer; None where it cannot be read, which never votes.
        latents: Its latent vectors, float16 or float32 [latent steps, hidden size]; None where they are not kept
            because there is nothing to tell apart, and for a failed row.
        labels: Label of each step, float32 [latent steps]; None without latents.
        answer_ids: Its answer tokens, the end-of-text token included.
        failed: Whether it could not be computed: a wrong candidate without a score.
    """

    correct: bool
    answer: str | None
    latents: NDArray[np.floating] | None = None
    labels: FloatArray | None = None
    answer_ids: tuple[int, ...] = ()
    failed: bool = False


@dataclass(frozen=True, eq=False)
class LabelledQuestion:
    """A question with its N candidates.

    Attributes:
        question_id: Its name.
        prompt: Token ids of its prompt.
        candidates: Its candidates in sample order.
    """

    question_id: str
    prompt: tuple[int, ...]
    candidates: tuple[LabelledCandidate, ...]

    @property
    def is_mixed(self) -> bool:
        """Whether right and wrong candidates can be told apart here."""
        return len({candidate.correct for candidate in self.candidates}) == 2


@dataclass(frozen=True)
class RewardBatch:
    """B questions with N candidates each, as tensors.

    Attributes:
        prompts: Token ids of the B prompts.
        candidates: The B * N trajectories.
        labels: float32 [B, N, S], S = T latent steps, and one more where the answer is scored; it is labelled by the
            trajectory's own correctness. Without meaning where the mask is False.
        mask: bool [B, N, S]; False beyond a row's length, and for rows that failed.
    """

    prompts: tuple[tuple[int, ...], ...]
    candidates: CandidateBatch
    labels: Tensor
    mask: Tensor


def collate(
    questions: Sequence[LabelledQuestion], *, score_answer: bool, filler_id: int, device: torch.device | str = "cpu"
) -> RewardBatch:
    """Put questions with equally many candidates side by side.

    Args:
        questions: B questions, at least one candidate of which has latents.
        score_answer: Whether the written answer is one more step.
        filler_id: Id that fills answers up, and stands for the answer of a row that failed.
        device: Where the tensors go.

    Raises:
        ValueError: If the numbers of candidates differ, or no candidate has latents.
    """
    rows = [candidate for question in questions for candidate in question.candidates]
    numbers = {len(question.candidates) for question in questions}
    # A model that stops thinking by itself may not think at all: such a candidate has no width either.
    shapes = [row.latents.shape for row in rows if row.latents is not None and len(row.latents)]
    if len(numbers) != 1 or not shapes:
        raise ValueError(f"a batch needs latents and equally many candidates per question, got {sorted(numbers)}")
    steps, width = max(shape[0] for shape in shapes), shapes[0][1]
    latents = np.zeros((len(rows), steps, width), dtype=np.float32)
    labels = np.zeros((len(rows), steps + score_answer), dtype=np.float32)
    mask = np.zeros(labels.shape, dtype=np.bool_)
    # A row that failed is read like the others and then disregarded.
    lengths = np.full(len(rows), steps)
    for index, row in enumerate(rows):
        if row.latents is None or row.labels is None:
            continue
        lengths[index] = own = len(row.latents)
        if own:
            latents[index, :own], labels[index, :own], mask[index, :own] = row.latents, row.labels, True
        if score_answer:
            labels[index, steps], mask[index, steps] = row.correct, True
    answers, answer_lengths = _answers(rows, filler_id) if score_answer else (None, None)
    candidates = CandidateBatch(
        torch.from_numpy(latents).to(device),
        torch.from_numpy(lengths).to(device),
        None if answers is None else torch.from_numpy(answers).to(device),
        None if answer_lengths is None else torch.from_numpy(answer_lengths).to(device),
    )
    shape = (len(questions), numbers.pop(), -1)
    prompts = tuple(question.prompt for question in questions)
    return RewardBatch(
        prompts,
        candidates,
        torch.from_numpy(labels).to(device).reshape(shape),
        torch.from_numpy(mask).to(device).reshape(shape),
    )


def _answers(rows: Sequence[LabelledCandidate], filler_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return answer tokens [rows, longest answer] and their numbers [rows], at least 1."""
    written = [row.answer_ids or (filler_id,) for row in rows]
    lengths = np.array([len(ids) for ids in written])
    tokens = np.full((len(rows), lengths.max()), filler_id)
    for index, ids in enumerate(written):
        tokens[index, : len(ids)] = ids
    return tokens, lengths
