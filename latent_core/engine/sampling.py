"""Sample trajectories of a batch of questions: prefill, branch, step x T, decode, and read the answers."""

import time
from collections.abc import Sequence

import torch

from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.micro_batches import MicroBatch, micro_batches
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.engine.trajectories import read_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import TrajectoryBatch


def sample_trajectories(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    samples: range,
    *,
    latent_steps: int,
    answer_tokens: int,
    seed: int,
    latents: torch.dtype | None = torch.float32,
    keep_prompts: bool = False,
) -> TrajectoryBatch:
    """Sample every question of a batch at the given sample indices, as many at once as memory has room for.

    Args:
        reasoner: The model.
        sampler: What makes samples differ.
        problems: The questions.
        samples: Sample indices per question; results do not depend on which other indices are asked for.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        latents: Precision of the latent vectors in the records, float32 or float16; None leaves them out.
        keep_prompts: Whether prompts are kept for further samples of the same questions; see `RolloutEngine`.

    Returns:
        len(problems) * len(samples) trajectories, question by question in sample order; iterating yields records.
    """
    engine = RolloutEngine(reasoner, sampler, keep_prompts=keep_prompts)
    prompt_batch = PromptBatch.of(reasoner, problems)

    def compute(batch: MicroBatch) -> TrajectoryBatch:
        some, started = prompt_batch.part(batch.questions), time.perf_counter()
        state, kept = start_samples(engine, some, batch.samples, seed)
        stops = run_latent_steps(engine, ActiveRows.of(state), latent_steps)
        return read_trajectories(engine, stops, some, batch.samples, kept, answer_tokens, started, latents)

    suffix = reasoner.checkpoint.most_behind(latent_steps, answer_tokens)
    needs = prompt_batch.needs(engine.runtime, sampler, suffix)
    batches = micro_batches(needs, samples, engine.runtime.memory_budget, divisible=True)
    found = engine.runtime.row_limit.run(batches, divisible=True, compute=compute)
    return prompt_batch.unsort(TrajectoryBatch.concat(found))


def start_samples(
    engine: RolloutEngine, prompt_batch: PromptBatch, samples: range, seed: int
) -> tuple[RolloutState, list[int]]:
    """Return the state at t = 0 and the rows of it that were asked for, question by question in sample order.

    Batches below the smallest size are filled up with later samples, which are computed and dropped.
    """
    questions = len(prompt_batch.problems)
    per_question = _computed_samples(questions, samples)
    computed = range(samples.start, samples.start + per_question)
    state = engine.start(prompt_batch.prompts, prompt_batch.question_ids, seed, computed)
    return state, kept_rows(questions, samples)


def kept_rows(questions: int, samples: range) -> list[int]:
    """Return which rows of `start_samples` were asked for, question by question in sample order."""
    per_question = _computed_samples(questions, samples)
    return [first * per_question + row for first in range(questions) for row in range(len(samples))]


def _computed_samples(questions: int, samples: range) -> int:
    return max(len(samples), -(-MIN_ROWS // questions))
