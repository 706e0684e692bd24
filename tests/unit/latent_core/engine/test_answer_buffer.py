"""Tokens arrive at the rows that they belong to, and those of rows that do not count arrive nowhere."""

import torch

from latent_core.engine.answer_buffer import AnswerBuffer
from latent_core.models.token_confidence import TokenConfidence


def test_rows_that_do_not_count_write_nothing() -> None:
    buffer, yes = AnswerBuffer(3, 4, 0, torch.device("cpu")), torch.ones(3, dtype=torch.bool)
    buffer.write(0, torch.tensor([0, 1, 2]), torch.tensor([True, True, True]), torch.tensor([5, 6, 7]), yes)
    # Row 1 has finished, and row 2 fills up the batch a second time.
    found = torch.tensor([True, False, False])
    buffer.write(1, torch.tensor([2, 0, 2]), torch.tensor([True, True, False]), torch.tensor([8, 9, 10]), found)
    answers = buffer.read()
    assert answers.token_ids.tolist() == [[5, 9], [6, 0], [7, 8]]
    assert answers.lengths.tolist() == [2, 1, 2]
    assert answers.logits is None
    # What a row that does not count follows from is no matter.
    assert answers.finite.tolist() == [False, True, True]


def test_logits_of_rows_that_do_not_count_are_missing() -> None:
    buffer = AnswerBuffer(2, 2, 0, torch.device("cpu"))
    logits, yes = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.ones(2, dtype=torch.bool)
    buffer.write(0, torch.tensor([0, 1]), torch.tensor([True, True]), torch.tensor([1, 1]), yes, logits)
    buffer.write(1, torch.tensor([1, 1]), torch.tensor([True, False]), torch.tensor([1, 1]), yes, logits)
    found = buffer.read().logits
    assert found is not None
    assert found.shape == (2, 2, 2)
    assert torch.equal(found[:, 0], logits)
    assert torch.equal(found[1, 1], logits[0])
    assert found[0, 1].isnan().all()


def test_confidence_is_summed_over_what_rows_have_written() -> None:
    buffer = AnswerBuffer(3, 4, 0, torch.device("cpu"), keep_confidence=True)
    yes = torch.ones(3, dtype=torch.bool)
    tokens, nan = torch.tensor([5, 6, 7]), float("nan")
    first = TokenConfidence(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([0.5, 0.25, 1.0]))
    buffer.write(0, torch.tensor([0, 1, 2]), yes, tokens, yes, confidence=first)
    # Row 1 has finished, and row 2 fills up the batch a second time.
    later = TokenConfidence(torch.tensor([-4.0, -8.0, nan]), torch.tensor([2.0, 1.5, nan]))
    buffer.write(1, torch.tensor([2, 0, 2]), torch.tensor([True, True, False]), tokens, yes, confidence=later)
    answers = buffer.read()
    assert answers.logprob is not None
    assert answers.entropy is not None
    assert answers.logprob.tolist() == [-9.0, -2.0, -7.0]
    assert answers.entropy.tolist() == [1.0, 0.25, 1.5]
    buffer = AnswerBuffer(3, 4, 0, torch.device("cpu"))
    buffer.write(0, torch.tensor([0, 1, 2]), yes, tokens, yes)
    assert buffer.read().logprob is None


def test_an_answer_without_tokens_has_no_confidence() -> None:
    answers = AnswerBuffer(2, 0, 0, torch.device("cpu"), keep_confidence=True).read()
    assert answers.logprob is not None
    assert answers.entropy is not None
    assert answers.logprob.isnan().all()
    assert answers.entropy.isnan().all()
