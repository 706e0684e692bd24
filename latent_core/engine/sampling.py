"""Sample trajectories of a block of questions: prefill, branch, step x T, decode, and read the answers."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from latent_core.engine.attention import MIN_ROWS
from latent_core.engine.blocks import PromptBlock
from latent_core.engine.host import to_host
from latent_core.engine.micro_batches import MicroBatch, micro_batches
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.engine.walk import Stretch, walk
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import FloatArray, Trajectory


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
    """Sample every question of a block at the given sample indices, as many at once as memory has room for.

    Args:
        reasoner: The model.
        sampler: What makes samples differ.
        problems: The questions.
        samples: Sample indices per question; results do not depend on which other indices are asked for.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.

    Returns:
        len(problems) * len(samples) trajectories, question by question in sample order.
    """
    engine, block = RolloutEngine(reasoner, sampler), PromptBlock.of(reasoner, problems)

    def compute(batch: MicroBatch) -> list[list[Trajectory]]:
        some, started = block.part(batch.questions), time.perf_counter()
        state, kept = start_samples(engine, some, batch.samples, seed)
        stops = walk(engine, Stretch.of(state), latent_steps)
        return some.by_question(read_trajectories(engine, stops, some, batch.samples, kept, answer_tokens, started))

    needs = block.needs(reasoner, sampler, latent_steps + 1 + answer_tokens)
    batches = micro_batches(needs, samples, reasoner.room, divisible=True)
    return block.as_asked(reasoner.row_limit.run(batches, divisible=True, compute=compute))


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


@dataclass(frozen=True)
class _Finished:
    """What a row has thought and written."""

    latents: FloatArray
    answer_ids: tuple[int, ...]
    text: str
    overrun: bool


def read_trajectories(
    engine: RolloutEngine,
    stops: Iterable[Stretch],
    block: PromptBlock,
    samples: range,
    kept: Sequence[int],
    answer_tokens: int,
    started: float,
) -> list[Trajectory]:
    """Decode the answers behind the last latent steps and make a record of each kept row.

    Args:
        engine: The engine that has walked there.
        stops: The rows of the first state, as they stop thinking.
        block: The questions.
        samples: Sample indices per question.
        kept: Rows of the first state, question by question in sample order.
        answer_tokens: Longest answer in tokens.
        started: When the batch was begun, by `time.perf_counter()`.
    """
    finished: dict[int, _Finished] = {}
    # Samples often write the same, and reading it once is enough.
    texts: dict[tuple[int, ...], str] = {}
    for stop in stops:
        answers = engine.decode(stop.state, answer_tokens, overrun=stop.overrun)
        thoughts, *written = to_host(
            stop.state.latents.float(), answers.token_ids, answers.lengths, stop.origin, stop.counts
        )
        latents = thoughts.numpy()
        token_ids, lengths, origin, counts = (one.tolist() for one in written)
        for row in compress(range(len(counts)), counts):
            ids = tuple(token_ids[row][: lengths[row]])
            if ids not in texts:
                texts[ids] = engine.reasoner.decode_text(ids)
            finished[origin[row]] = _Finished(latents[row], ids, texts[ids], stop.overrun)
    seconds = (time.perf_counter() - started) / len(kept)
    addresses = ((question, sample) for question in range(len(block.problems)) for sample in samples)
    return [
        _trajectory(engine, block.problems[question], len(block.prompts[question]), sample, finished[row], seconds)
        for row, (question, sample) in zip(kept, addresses, strict=True)
    ]


def _trajectory(
    engine: RolloutEngine, problem: Problem, prompt_tokens: int, sample: int, row: _Finished, seconds: float
) -> Trajectory:
    """Make the record of one finished row."""
    finite = np.isfinite(row.latents).all(axis=1)
    if not finite.all():
        return Trajectory.failed(problem, sample, f"non-finite latent at step {int(finite.argmin()) + 1}")
    reasoner, steps = engine.reasoner, len(row.latents)
    answer = problem.canonical(reasoner.checkpoint.format.extract_answer(row.text))
    prompt_flops = reasoner.flops.prompt(prompt_tokens)
    shared = not engine.sampler.perturbs_prompt
    forced = 0 if row.overrun else 1
    own_flops = reasoner.flops.trajectory(prompt_tokens, steps, forced, len(row.answer_ids))
    own_flops += engine.perturbation_flops(prompt_tokens, steps)
    return Trajectory(
        question_id=problem.question_id,
        sample_index=sample,
        answer_text=row.text,
        answer=answer,
        correct=problem.is_correct(answer),
        latent_steps=steps,
        answer_tokens=len(row.answer_ids),
        answer_ids=tuple(token for token in row.answer_ids if token != reasoner.checkpoint.latent_id),
        latents=row.latents,
        prompt_flops=prompt_flops if shared else 0.0,
        flops=own_flops if shared else own_flops + prompt_flops,
        seconds=seconds,
    )
