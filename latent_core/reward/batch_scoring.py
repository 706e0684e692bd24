"""Score the trajectories of several questions, each group against its one prompt."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from latent_core.attention.padding import argsort_by_length, unsort
from latent_core.columns import ABSENT, Ragged
from latent_core.engine.memory import Footprint, share_of
from latent_core.engine.micro_batches import MicroBatch, micro_batches
from latent_core.failures import TRAJECTORY_FAILED
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates
from latent_core.reward.types import QuestionToScore, ScoreBatch
from latent_core.row_invariance import MIN_ROWS
from latent_core.trajectory import LatentArray


def score_groups(
    model: LatentRewardModel,
    prompts: Sequence[Sequence[int]],
    questions: Sequence[QuestionToScore],
    score_answer: bool,
) -> ScoreBatch:
    """Score trajectories, as many at once as memory has room for.

    Args:
        model: The reward model.
        prompts: Token ids of each question's prompt.
        questions: The questions with their trajectories, as many for each.
        score_answer: Whether to read the answers too.

    Returns:
        One score per trajectory, question by question, as a sequence of records; trajectories that failed, and those
        whose rewards are not finite, have an error in its place.

    Raises:
        ValueError: If questions have different numbers of trajectories.
    """
    if len({len(one.latents) for one in questions}) > 1:
        raise ValueError("all questions of a batch need the same number of trajectories")
    # Neighbours of one padded length are read together.
    order = argsort_by_length(prompts)
    ordered = [questions[index] for index in order]

    def compute(batch: MicroBatch) -> ScoreBatch:
        some = [_part(question, batch.samples) for question in ordered[batch.questions]]
        return _score_batch(model, [prompts[index] for index in order[batch.questions]], some, score_answer)

    needs = _needs(model, [prompts[index] for index in order], ordered, score_answer)
    batches = micro_batches(needs, range(len(questions[0].latents)), share_of(model.device), divisible=True)
    return unsort(ScoreBatch.concat(model.row_limit.run(batches, divisible=True, compute=compute)), order)


def _part(question: QuestionToScore, samples: range) -> QuestionToScore:
    some = slice(samples.start, samples.stop)
    return QuestionToScore(question.question, question.latents[some], question.answer_ids[some])


def _needs(
    model: LatentRewardModel,
    prompts: Sequence[Sequence[int]],
    questions: Sequence[QuestionToScore],
    score_answer: bool,
) -> list[tuple[int, int]]:
    """Return the bytes of memory that each question needs, and those that each trajectory of it needs."""
    longest = max((len(array) for one in questions for array in one.latents if array is not None), default=0)
    if score_answer:
        longest += 1 + max((len(ids) for one in questions for ids in one.answer_ids), default=0)
    footprint = Footprint.of(model.model)
    return [(footprint.prompt(len(prompt)), footprint.positions(len(prompt), longest)) for prompt in prompts]


def _score_batch(
    model: LatentRewardModel,
    prompts: Sequence[Sequence[int]],
    questions: Sequence[QuestionToScore],
    score_answer: bool,
) -> ScoreBatch:
    started = time.perf_counter()
    given = len(questions[0].latents)
    # Batches below the smallest size are filled up; what fills is dropped.
    per_question = max(given, -(-MIN_ROWS // len(questions)))
    fillers: tuple[None, ...] = (None,) * (per_question - given)
    latents = [array for one in questions for array in (*one.latents, *fillers)]
    answers = [ids for one in questions for ids in (*one.answer_ids, *((),) * len(fillers))]
    if all(array is None for array in latents):
        return ScoreBatch.failed(len(questions) * given, TRAJECTORY_FAILED)
    candidates = _candidates(model, latents, answers if score_answer else None)
    with torch.inference_mode():
        rewards = score_candidates(model, prompts, candidates, apart=True)
    # What fills the batch is dropped.
    rows = (np.arange(len(questions))[:, None] * per_question + np.arange(given)).ravel()
    steps = rewards.steps.cpu().numpy()[rows]
    lengths = np.array([ABSENT if array is None else len(array) for array in latents])[rows]
    answer = np.full(len(rows), np.nan) if rewards.answer is None else rewards.answer.cpu().numpy()[rows].astype(float)
    is_finite = (np.isfinite(steps) | (np.arange(steps.shape[1]) >= lengths[:, None])).all(axis=1)
    if rewards.answer is not None:
        is_finite &= np.isfinite(answer)
    seconds = (time.perf_counter() - started) / len(rows)
    error = [
        TRAJECTORY_FAILED if length == ABSENT else None if finite else "the reward is not finite"
        for length, finite in zip(lengths.tolist(), is_finite.tolist(), strict=True)
    ]
    known = np.array([one is None for one in error])
    contexts = [len(prompt) for prompt in prompts for _ in range(given)]
    thought = [model.flops.suffix(context, length) for context, length in zip(contexts, lengths.tolist(), strict=True)]
    read = [
        model.flops.suffix(context, length + 1 + len(answers[row])) if score_answer else 0.0
        for context, length, row in zip(contexts, lengths.tolist(), rows.tolist(), strict=True)
    ]
    return ScoreBatch(
        Ragged(steps.ravel(), np.arange(len(rows)) * steps.shape[1], np.where(known, lengths, ABSENT)),
        np.where(known, answer, np.nan),
        np.where(known, [model.flops.prompt(context) for context in contexts], 0.0),
        np.where(known, thought, 0.0),
        np.where(known, read, 0.0),
        np.where(known, seconds, 0.0),
        error,
    )


def _candidates(
    model: LatentRewardModel, latents: Sequence[LatentArray | None], answers: Sequence[Sequence[int]] | None
) -> CandidateBatch:
    """Pad trajectories to one length; those that failed are padding throughout."""
    # A model that stops thinking by itself may not think at all; one column is there nevertheless.
    longest = max(1, *(len(array) for array in latents if array is not None))
    padded = np.zeros((len(latents), longest, int(model.model.config.hidden_size)), dtype=np.float32)
    for row, array in enumerate(latents):
        if array is not None and len(array):
            padded[row, : len(array)] = array
    lengths = torch.tensor([longest if array is None else len(array) for array in latents], device=model.device)
    vectors = torch.from_numpy(padded).to(model.device)
    if answers is None:
        return CandidateBatch(vectors, lengths)
    most = max(1, *(len(ids) for ids in answers))
    tokens = torch.full((len(answers), most), model.end_of_text_id)
    for row, ids in enumerate(answers):
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    written = torch.tensor([len(ids) for ids in answers], device=model.device)
    return CandidateBatch(vectors, lengths, tokens.to(model.device), written)
