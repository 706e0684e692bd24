"""From labelled candidates to tensors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion, collate

MakeQuestions = Callable[..., list[LabelledQuestion]]


def test_rows_of_different_lengths_and_a_failed_one(make_questions: MakeQuestions) -> None:
    first, second = make_questions(2, candidates=3, steps=3)
    short = second.candidates[0]
    assert short.latents is not None
    assert short.labels is not None
    rows = (
        replace(short, latents=short.latents[:2], labels=short.labels[:2], answer_ids=(5,)),
        LabelledCandidate(False, None, failed=True),
        second.candidates[2],
    )
    batch = collate([first, replace(second, candidates=rows)], score_answer=True, filler_id=0)

    assert batch.prompts == (first.prompt, second.prompt)
    assert batch.labels.shape == batch.mask.shape == (2, 3, 4)
    assert batch.mask.tolist() == [
        [[True] * 4] * 3,
        [[True, True, False, True], [False] * 4, [True] * 4],
    ]
    assert batch.candidates.lengths.tolist() == [3, 3, 3, 2, 3, 3]
    assert batch.candidates.latents.dtype == torch.float32
    np.testing.assert_array_equal(batch.candidates.latents[3, :2].numpy(), short.latents[:2].astype(np.float32))
    assert batch.labels[1, 0, :2].tolist() == short.labels[:2].tolist()
    assert batch.labels[..., 3].tolist() == [
        [float(row.correct) for row in first.candidates],
        [float(row.correct) for row in rows],
    ]
    assert batch.candidates.answers is not None
    assert batch.candidates.answer_lengths is not None
    assert batch.candidates.answer_lengths[3:5].tolist() == [1, 1]
    assert batch.candidates.answers[3, 0] == 5


def test_without_answers(make_questions: MakeQuestions) -> None:
    batch = collate(make_questions(2), score_answer=False, filler_id=0)
    assert batch.candidates.answers is None
    assert batch.candidates.answer_lengths is None
    assert batch.labels.shape == (2, 4, 3)


def test_what_is_no_batch(make_questions: MakeQuestions) -> None:
    with pytest.raises(ValueError, match=r"equally many candidates per question, got \[2, 3\]"):
        collate(make_questions(1, 2) + make_questions(1, 3), score_answer=False, filler_id=0)
    empty = LabelledQuestion("q", (1, 2), (LabelledCandidate(True, "1"), LabelledCandidate(False, "2")))
    with pytest.raises(ValueError, match="needs latents"):
        collate([empty], score_answer=False, filler_id=0)


def test_mixed_questions(make_questions: MakeQuestions) -> None:
    question = make_questions(1)[0]
    assert question.is_mixed
    assert not replace(question, candidates=question.candidates[:1]).is_mixed
