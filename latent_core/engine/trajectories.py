"""The records of trajectories: rows that have finished are decoded, copied to the host, read and graded.

A GPU waits meanwhile, so records are made column by column: a batch has thousands of rows.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_core.columns import ColumnBatch, Ragged
from latent_core.engine.answer_buffer import Answers
from latent_core.engine.latent_steps import ActiveRows
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.errors import UserError
from latent_core.models.reasoner import LatentReasoner
from latent_core.tasks.base import Problem
from latent_core.trajectory import NO_TOKEN, TrajectoryBatch, is_cut

_DTYPES: dict[torch.dtype, Any] = {torch.float16: np.float16, torch.float32: np.float32}


def read_trajectories(
    engine: RolloutEngine,
    stops: Iterable[ActiveRows],
    prompt_batch: PromptBatch,
    samples: range,
    kept: Sequence[int],
    answer_tokens: int,
    started: float,
    latents: torch.dtype | None = torch.float32,
) -> TrajectoryBatch:
    """Decode the answers behind the last latent steps and make the batch of the kept rows.

    Args:
        engine: The engine that has taken the steps.
        stops: The rows of the first state, as they stop thinking.
        prompt_batch: The questions.
        samples: Sample indices per question.
        kept: Rows of the first state, question by question in sample order.
        answer_tokens: Longest answer in tokens.
        started: When the batch was begun, by `time.perf_counter()`.
        latents: Precision of the latent vectors in the records, float32 or float16; None leaves them out.
    """
    parts = []
    for stop in stops:
        limit = engine.answer_limit(stop.state, answer_tokens)
        answers = engine.decode(stop.state, limit, truncated=stop.truncated, keep_confidence=True)
        parts.append(_Finished.of(stop, answers, latents, limit))
    rows = _Finished.concat(parts).of_origins(kept)
    seconds = (time.perf_counter() - started) / len(kept)
    return _Reader(engine, prompt_batch).batch(rows, samples, seconds)


@dataclass(frozen=True, eq=False)
class _Finished(ColumnBatch[Any]):
    """Rows that have thought and written, on the host.

    Attributes:
        origin: The row of the first state that each of them is, int64 [rows].
        latents: What each has thought; nowhere there if that is not kept.
        steps: In how many steps, int64 [rows].
        finite: How many of them are finite before the first that is not, int64 [rows].
        ids: The tokens that each has written.
        is_number: Whether every one of these followed from numbers, bool [rows].
        logprob: Log-probability of what each has written, float32 [rows].
        entropy: Mean entropy of its tokens, float32 [rows].
        truncated: Whether its thinking was truncated, bool [rows].
        limit: The most tokens that each may write, int64 [rows].
    """

    origin: NDArray[np.int64]
    latents: Ragged
    steps: NDArray[np.int64]
    finite: NDArray[np.int64]
    ids: Ragged
    is_number: NDArray[np.bool_]
    logprob: NDArray[np.float32]
    entropy: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    limit: NDArray[np.int64]

    @classmethod
    def of(cls, stop: ActiveRows, answers: Answers, dtype: torch.dtype | None, limit: int) -> Self:
        """Copy the rows that count to the host; `dtype` is the precision of their latents, None for none."""
        thoughts = stop.state.latents
        rows, steps = thoughts.shape[:2]
        wanted = [] if dtype is None else [_rounded(thoughts, dtype)]
        assert answers.logprob is not None
        assert answers.entropy is not None
        *copied, token_ids, lengths, is_number, logprob, entropy, origin, counts, are_finite = to_host(
            *wanted,
            answers.token_ids,
            answers.lengths,
            answers.finite,
            answers.logprob,
            answers.entropy,
            stop.origin,
            stop.counts,
            _are_finite(wanted[0] if wanted else thoughts),
        )
        if wanted and not are_finite:
            _check_range(thoughts, wanted[0])
        latents, written = Ragged.absent(rows), token_ids.numpy().astype(np.int32)
        if copied:
            values = copied[0].numpy().reshape(rows * steps, thoughts.shape[-1])
            latents = Ragged.behind_each_other(values, np.full(rows, steps))
        return cls(
            origin=origin.numpy(),
            latents=latents,
            steps=np.full(rows, steps),
            finite=np.full(rows, steps) if bool(are_finite) else _finite_steps(thoughts).cpu().numpy(),
            ids=Ragged(written.ravel(), np.arange(rows) * written.shape[1], lengths.numpy()),
            is_number=is_number.numpy(),
            logprob=logprob.numpy(),
            entropy=entropy.numpy(),
            truncated=np.full(rows, stop.truncated),
            limit=np.full(rows, limit),
        ).take(np.flatnonzero(counts.numpy()))

    def of_origins(self, rows: Sequence[int]) -> Self:
        """Return those that are these rows of the first state, in this order."""
        place = np.zeros(int(self.origin.max()) + 1, np.int64)
        place[self.origin] = np.arange(len(self))
        return self.take(place[np.asarray(rows)])


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors of one device to the host, waiting for the device only at the end; what is there already stays."""
    if tensors[0].device.type != "cuda":
        return list(tensors)
    # Only copies into pinned memory go on by themselves.
    copies = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(one, non_blocking=True) for one in tensors]
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return copies


def _rounded(latents: Tensor, dtype: torch.dtype) -> Tensor:
    """Return latents in the precision that is recorded."""
    if latents.dtype == dtype or latents.device.type != "cpu":
        return latents.to(dtype)
    # Memory of numpy's comes in huge pages: to touch that many small ones takes longer than to round.
    memory = torch.from_numpy(np.empty(latents.shape, _DTYPES[dtype]))
    return memory.copy_(latents)


def _are_finite(latents: Tensor) -> Tensor:
    """Return whether all latents are finite, which they nearly always are; bool []. False is to be looked into."""
    # A sum is what is not a number as soon as one element is; looking at every element takes longer. Large elements may
    # add up to infinity although they are finite.
    return latents.sum(dim=-1, dtype=torch.float32).isfinite().all()


def _check_range(latents: Tensor, rounded: Tensor) -> None:
    """Refuse latents that the recorded precision cannot hold: as infinite ones they would be another trajectory's.

    Raises:
        UserError: With the largest of them.
    """
    beyond = latents.isfinite() & ~rounded.isfinite()
    if beyond.any():
        raise UserError(
            f"latents reach {latents[beyond].abs().max():,.0f}, beyond the {torch.finfo(rounded.dtype).max:,.0f} of "
            f"{str(rounded.dtype).removeprefix('torch.')} in which they are stored; set store.latents=float32"
        )


def _finite_steps(latents: Tensor) -> Tensor:
    """Return how many latents of each row are finite before the first that is not, int64 [rows]."""
    # Both extremes are what is not a number as soon as one element is.
    finite = latents.amax(dim=-1).isfinite() & latents.amin(dim=-1).isfinite()
    return finite.long().cumprod(dim=-1).sum(dim=-1)


def visible_ids(reasoner: LatentReasoner, ids: Ragged) -> Ragged:
    """Return the ids that do not show thinking."""
    ids = ids.packed()
    is_shown = ids.values != reasoner.checkpoint.latent_id
    if is_shown.all():
        return ids
    before = np.append(0, np.cumsum(is_shown))
    return Ragged.behind_each_other(ids.values[is_shown], before[ids.starts + ids.lengths] - before[ids.starts])


def read_answers(
    reasoner: LatentReasoner, problems: Sequence[Problem], questions: NDArray[Any], ids: Ragged
) -> tuple[list[str], list[str | None], NDArray[np.bool_]]:
    """Read and judge answers; samples often write the same, which is read once.

    Args:
        reasoner: What has written them.
        problems: The questions.
        questions: Which of them each answer belongs to, int64 [answers].
        ids: The ids of each answer, without those that show thinking.

    Returns:
        Texts, canonical answers (None where there is none to be read), and which are right, bool [answers].
    """
    begins, ends = ids.starts, ids.starts + ids.lengths
    raw, size = ids.values.tobytes(), ids.values.itemsize
    written = [raw[first:end] for first, end in zip((begins * size).tolist(), (ends * size).tolist(), strict=True)]
    known: dict[tuple[int, bytes], int] = {}
    place = [known.setdefault(one, len(known)) for one in zip(questions.tolist(), written, strict=True)]
    _, first = np.unique(place, return_index=True)
    asked = [problems[one] for one in questions[first].tolist()]
    own, flat = reasoner.checkpoint.format.extract_answer, ids.values.tolist()
    distinct = [flat[begin:end] for begin, end in zip(begins[first].tolist(), ends[first].tolist(), strict=True)]
    texts = reasoner.texts_of(distinct)
    answers = [problem.canonical(problem.extract(text, own)) for problem, text in zip(asked, texts, strict=True)]
    correct = [problem.is_correct(answer) for problem, answer in zip(asked, answers, strict=True)]
    return list(map(texts.__getitem__, place)), list(map(answers.__getitem__, place)), np.array(correct)[place]


@dataclass(frozen=True)
class _Reader:
    """Makes the batch of what rows have thought and written."""

    engine: RolloutEngine
    prompt_batch: PromptBatch

    def batch(self, rows: _Finished, samples: range, seconds: float) -> TrajectoryBatch:
        """Make the batch of finished rows, question by question in sample order."""
        problems, per_question = self.prompt_batch.problems, len(samples)
        questions = np.repeat(np.arange(len(problems)), per_question)
        tokens, shown = rows.ids.lengths, visible_ids(self.engine.reasoner, rows.ids)
        texts, answers, correct = read_answers(self.engine.reasoner, problems, questions, shown)
        last = np.full(len(rows), NO_TOKEN)
        last[shown.lengths > 0] = shown.values[(shown.starts + shown.lengths - 1)[shown.lengths > 0]]
        prompt_flops, flops = self._costs(questions, rows.steps, tokens, rows.truncated)
        batch = TrajectoryBatch(
            question_id=[problem.question_id for problem in problems for _ in samples],
            sample_index=np.tile(np.array(samples), len(problems)),
            answer_text=texts,
            answer=answers,
            correct=correct,
            latent_steps=rows.steps.astype(np.int32),
            answer_tokens=tokens.astype(np.int32),
            answer_ids=shown,
            latents=rows.latents,
            prompt_flops=prompt_flops,
            flops=flops,
            seconds=np.full(len(rows), seconds),
            error=[None] * len(rows),
            cut=is_cut(tokens, last, rows.limit, self.engine.reasoner.checkpoint.answer_ends),
            answer_logprob=rows.logprob,
            token_entropy=rows.entropy,
        )
        failed = np.flatnonzero((rows.finite < rows.steps) | ~rows.is_number)
        if not len(failed):
            return batch
        errors = [
            f"non-finite latent at step {finite + 1}" if finite < steps else "non-finite logits in the answer"
            for finite, steps in zip(rows.finite[failed].tolist(), rows.steps[failed].tolist(), strict=True)
        ]
        ids, indices = batch.take(failed).question_id, batch.sample_index[failed].tolist()
        return batch.replaced(failed, TrajectoryBatch.failed(ids, indices, errors))

    def _costs(
        self, questions: NDArray[Any], steps: NDArray[Any], tokens: NDArray[Any], truncated: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what `_cost` says of each row; few rows differ in it."""
        kinds = ((questions * (steps.max() + 1) + steps) * (tokens.max() + 1) + tokens) * 2 + truncated
        _, first, place = np.unique(kinds, return_index=True, return_inverse=True)
        columns = [column[first].tolist() for column in (questions, steps, tokens, truncated)]
        costs = np.array([self._cost(*kind) for kind in zip(*columns, strict=True)], np.float64)[place]
        return costs[:, 0], costs[:, 1]

    def _cost(self, question: int, steps: int, tokens: int, truncated: bool) -> tuple[float, float]:
        """Return the FLOPs of the prompt where samples share it, else 0, and those of a trajectory alone."""
        reasoner, prompt_tokens = self.engine.reasoner, len(self.prompt_batch.prompts[question])
        forced = 0 if truncated else len(reasoner.checkpoint.fed_ids)
        shared, own = reasoner.flops.shared_prompt(prompt_tokens, self.engine.sampler.own_prompt_tokens(prompt_tokens))
        own += reasoner.flops.trajectory(prompt_tokens, steps, forced, tokens)
        own += self.engine.perturbation_flops(prompt_tokens, steps)
        return shared, own
