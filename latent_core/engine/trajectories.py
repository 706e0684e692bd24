"""The records of trajectories: rows that have finished are decoded, copied to the host, read and graded.

A GPU waits meanwhile, so records are made column by column: a batch has thousands of rows.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress, repeat

import numpy as np
import torch
from torch import Tensor

from latent_core.engine.answer_buffer import Answers
from latent_core.engine.latent_steps import ActiveRows
from latent_core.engine.prompt_batch import PromptBlock
from latent_core.engine.rollout import RolloutEngine
from latent_core.trajectory import NO_TOKEN, LatentArray, Trajectory, is_cut


def read_trajectories(
    engine: RolloutEngine,
    stops: Iterable[ActiveRows],
    block: PromptBlock,
    samples: range,
    kept: Sequence[int],
    answer_tokens: int,
    started: float,
    latents: torch.dtype | None = torch.float32,
) -> list[Trajectory]:
    """Decode the answers behind the last latent steps and make a record of each kept row.

    Args:
        engine: The engine that has taken the steps.
        stops: The rows of the first state, as they stop thinking.
        block: The questions.
        samples: Sample indices per question.
        kept: Rows of the first state, question by question in sample order.
        answer_tokens: Longest answer in tokens.
        started: When the batch was begun, by `time.perf_counter()`.
        latents: Precision of the latent vectors in the records, float32 or float16; None leaves them out.
    """
    finished: dict[int, _Finished] = {}
    for stop in stops:
        answers = engine.decode(stop.state, answer_tokens, truncated=stop.truncated)
        finished.update(_finished(stop, answers, latents))
    seconds = (time.perf_counter() - started) / len(kept)
    return _Reader(engine, block, answer_tokens).trajectories([finished[row] for row in kept], samples, seconds)


_Finished = tuple[LatentArray | None, int, int, tuple[int, ...], bool]
"""What a row has thought, in how many steps, how many of them are finite before the first that is not, the ids that it
has written, and whether its thinking was truncated."""

_Grade = tuple[str, str | None, bool, tuple[int, ...]]
"""The text of an answer, the canonical answer in it or None, whether it is right, and the ids that do not show
thinking."""


def _finished(stop: ActiveRows, answers: Answers, dtype: torch.dtype | None) -> Iterable[tuple[int, _Finished]]:
    """Go through the rows that count, with the row of the first state that each of them is."""
    latents, rows = stop.state.latents, stop.state.rows
    wanted = [] if dtype is None else [latents.to(dtype)]
    *thoughts, token_ids, lengths, origin, counts, finite = to_host(
        *wanted, answers.token_ids, answers.lengths, stop.origin, stop.counts, _finite_steps(latents)
    )
    arrays: Iterable[LatentArray | None] = thoughts[0].numpy() if thoughts else repeat(None, rows)
    ids = (tuple(row[:length]) for row, length in zip(token_ids.tolist(), lengths.tolist(), strict=True))
    columns = zip(arrays, repeat(latents.shape[1]), finite.tolist(), ids, repeat(stop.truncated), strict=False)
    return compress(zip(origin.tolist(), columns, strict=True), counts.tolist())


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors of one device to the host, waiting for the device only at the end; what is there already stays."""
    if tensors[0].device.type != "cuda":
        return list(tensors)
    # Only copies into pinned memory go on by themselves.
    copies = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(one, non_blocking=True) for one in tensors]
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return copies


def _finite_steps(latents: Tensor) -> Tensor:
    """Return how many latents of each row are finite before the first that is not, int64 [rows]."""
    # Both extremes are what is not a number as soon as one element is; looking at every element takes longer.
    finite = latents.amax(dim=-1).isfinite() & latents.amin(dim=-1).isfinite()
    return finite.long().cumprod(dim=-1).sum(dim=-1)


@dataclass(frozen=True)
class _Reader:
    """Reads what rows have written; samples often write the same, and reading it once is enough."""

    engine: RolloutEngine
    block: PromptBlock
    answer_tokens: int

    def trajectories(self, rows: Sequence[_Finished], samples: range, seconds: float) -> list[Trajectory]:
        """Make the records of finished rows, question by question in sample order."""
        latents, steps, finite, ids, truncated = zip(*rows, strict=True)
        questions = [question for question in range(len(self.block.problems)) for _ in samples]
        tokens = list(map(len, ids))
        texts, answers, correct, spoken = zip(*self._grades(list(zip(questions, ids, strict=True))), strict=True)
        last = [one[-1] if one else NO_TOKEN for one in spoken]
        ends = self.engine.reasoner.checkpoint.answer_ends
        prompt_flops, flops = zip(*map(cache(self._cost), questions, steps, tokens, truncated), strict=True)
        trajectories = Trajectory.of_columns(
            question_id=[problem.question_id for problem in self.block.problems for _ in samples],
            sample_index=[sample for _ in self.block.problems for sample in samples],
            answer_text=texts,
            answer=answers,
            correct=correct,
            latent_steps=steps,
            answer_tokens=tokens,
            answer_ids=spoken,
            latents=latents,
            prompt_flops=prompt_flops,
            flops=flops,
            seconds=repeat(seconds),
            error=repeat(None),
            cut=is_cut(np.array(tokens), np.array(last), self.answer_tokens, ends).tolist(),
        )
        for row, one in enumerate(trajectories):
            if finite[row] < steps[row]:
                problem, error = self.block.problems[questions[row]], f"non-finite latent at step {finite[row] + 1}"
                trajectories[row] = Trajectory.failed(problem, one.sample_index, error)
        return trajectories

    def _grades(self, written: Sequence[tuple[int, tuple[int, ...]]]) -> Iterable[_Grade]:
        """Read and judge answers, given as their questions and ids."""
        distinct = dict.fromkeys(written)
        reasoner, problems = self.engine.reasoner, [self.block.problems[question] for question, _ in distinct]
        own = reasoner.checkpoint.format.extract_answer
        spoken = [reasoner.spoken(ids) for _, ids in distinct]
        texts = reasoner.texts_of(spoken)
        answers = [problem.canonical(problem.extract(text, own)) for problem, text in zip(problems, texts, strict=True)]
        correct = [problem.is_correct(answer) for problem, answer in zip(problems, answers, strict=True)]
        grades = dict(zip(distinct, zip(texts, answers, correct, spoken, strict=True), strict=True))
        return map(grades.__getitem__, written)

    def _cost(self, question: int, steps: int, tokens: int, truncated: bool) -> tuple[float, float]:
        """Return the FLOPs of the prompt where samples share it, else 0, and those of a trajectory alone."""
        reasoner, prompt_tokens = self.engine.reasoner, len(self.block.prompts[question])
        prompt = reasoner.flops.prompt(prompt_tokens)
        own = reasoner.flops.trajectory(prompt_tokens, steps, 0 if truncated else 1, tokens)
        own += self.engine.perturbation_flops(prompt_tokens, steps)
        return (0.0, own + prompt) if self.engine.sampler.perturbs_prompt else (prompt, own)
