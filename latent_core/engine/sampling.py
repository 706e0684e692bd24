"""Sample trajectories of a block of questions: prefill, branch, step x T, decode, and read the answers."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from latent_core.engine.attention import MIN_ROWS
from latent_core.engine.prompts import padded_length
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import FloatArray, Trajectory


@dataclass(frozen=True)
class PromptBlock:
    """Questions whose prompts are padded to the same length, so that they can be one batch.

    Neighbours of another length would change how sums are rounded.

    Attributes:
        indices: Where each question stands among those that were asked for.
        problems: The questions.
        prompts: Their token ids.
    """

    indices: tuple[int, ...]
    problems: tuple[Problem, ...]
    prompts: tuple[list[int], ...]

    @property
    def question_ids(self) -> list[str]:
        """The ids of the questions."""
        return [problem.question_id for problem in self.problems]

    def repeated(self, times: int) -> "PromptBlock":
        """Return the questions several times over."""
        return PromptBlock(self.indices * times, self.problems * times, self.prompts * times)


def prompt_blocks(reasoner: LatentReasoner, problems: Sequence[Problem]) -> Iterator[PromptBlock]:
    """Group questions by the padded length of their prompts."""
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(padded_length(len(prompt)), []).append(index)
    for indices in by_length.values():
        yield PromptBlock(
            tuple(indices), tuple(problems[index] for index in indices), tuple(prompts[index] for index in indices)
        )


def sample_trajectories(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    samples: range,
    *,
    latent_steps: int,
    answer_tokens: int,
    seed: int,
) -> list[Trajectory]:
    """Sample every question of a block at the given sample indices.

    Args:
        reasoner: The model.
        sampler: What makes samples differ.
        problems: The questions; they are one batch.
        samples: Sample indices per question; results do not depend on which other indices are asked for.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.

    Returns:
        len(problems) * len(samples) trajectories, question by question in sample order.
    """
    engine = RolloutEngine(reasoner, sampler)
    done: dict[int, list[Trajectory]] = {}
    for block in prompt_blocks(reasoner, problems):
        started = time.perf_counter()
        state, kept = start_samples(engine, block, samples, seed)
        for _ in range(latent_steps):
            state = engine.step(state)
        rows = read_trajectories(engine, state, block, samples, kept, answer_tokens, started)
        for position, index in enumerate(block.indices):
            done[index] = rows[position * len(samples) : (position + 1) * len(samples)]
    return [trajectory for index in range(len(problems)) for trajectory in done[index]]


def start_samples(
    engine: RolloutEngine, block: PromptBlock, samples: range, seed: int
) -> tuple[RolloutState, list[int]]:
    """Return the state at t = 0 and the rows of it that were asked for, question by question in sample order.

    Batches below the smallest size are filled up with later samples, which are computed and dropped.
    """
    per_question = max(len(samples), -(-MIN_ROWS // len(block.problems)))
    computed = range(samples.start, samples.start + per_question)
    state = engine.start(block.prompts, block.question_ids, seed, computed)
    kept = [first * per_question + row for first in range(len(block.problems)) for row in range(len(samples))]
    return state, kept


def read_trajectories(
    engine: RolloutEngine,
    state: RolloutState,
    block: PromptBlock,
    samples: range,
    kept: Sequence[int],
    answer_tokens: int,
    started: float,
) -> list[Trajectory]:
    """Decode the answers behind the last latent step and make a record of each kept row.

    Args:
        engine: The engine that has walked there.
        state: The state behind the last latent step.
        block: The questions.
        samples: Sample indices per question.
        kept: Rows of the state, question by question in sample order.
        answer_tokens: Longest answer in tokens.
        started: When the batch was begun, by `time.perf_counter()`.
    """
    answers = engine.decode(state, answer_tokens)
    latents = state.latents.float().cpu().numpy()
    token_ids, lengths = answers.token_ids.tolist(), answers.lengths.tolist()
    seconds = (time.perf_counter() - started) / len(kept)
    addresses = ((question, sample) for question in range(len(block.problems)) for sample in samples)
    return [
        _trajectory(
            engine,
            block.problems[question],
            len(block.prompts[question]),
            sample,
            latents[row],
            token_ids[row][: lengths[row]],
            seconds,
        )
        for row, (question, sample) in zip(kept, addresses, strict=True)
    ]


def _trajectory(
    engine: RolloutEngine,
    problem: Problem,
    prompt_tokens: int,
    sample: int,
    latents: FloatArray,
    token_ids: list[int],
    seconds: float,
) -> Trajectory:
    """Make the record of one finished row."""
    finite = np.isfinite(latents).all(axis=1)
    if not finite.all():
        return Trajectory.failed(problem, sample, f"non-finite latent at step {int(finite.argmin()) + 1}")
    reasoner = engine.reasoner
    text = reasoner.decode_text(token_ids)
    answer = problem.canonical(reasoner.checkpoint.format.extract_answer(text))
    prompt_flops = reasoner.flops.prompt(prompt_tokens)
    shared = not engine.sampler.perturbs_prompt
    own_flops = reasoner.flops.trajectory(prompt_tokens, len(latents), 1, len(token_ids))
    return Trajectory(
        question_id=problem.question_id,
        sample_index=sample,
        answer_text=text,
        answer=answer,
        correct=problem.is_correct(answer),
        latent_steps=len(latents),
        answer_tokens=len(token_ids),
        answer_ids=tuple(token_ids),
        latents=latents,
        prompt_flops=prompt_flops if shared else 0.0,
        flops=own_flops if shared else own_flops + prompt_flops,
        seconds=seconds,
    )
