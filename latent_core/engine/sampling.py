"""Sample trajectories of a block of questions: prefill, branch, step x T, decode, and read the answers."""

import time
from collections.abc import Sequence

import numpy as np

from latent_core.engine.attention import MIN_ROWS
from latent_core.engine.rollout import RolloutEngine, padded_length
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.answers import canonical_answer
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
    by_length: dict[int, list[int]] = {}
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    for index, prompt in enumerate(prompts):
        by_length.setdefault(padded_length(len(prompt)), []).append(index)
    done: dict[int, list[Trajectory]] = {}
    # Prompts of one padded length go together: neighbours of another length would change how sums are rounded.
    for indices in by_length.values():
        rows = _sample_batch(
            RolloutEngine(reasoner, sampler),
            [problems[index] for index in indices],
            [prompts[index] for index in indices],
            samples,
            (latent_steps, answer_tokens),
            seed,
        )
        for position, index in enumerate(indices):
            done[index] = rows[position * len(samples) : (position + 1) * len(samples)]
    return [trajectory for index in range(len(problems)) for trajectory in done[index]]


def _sample_batch(
    engine: RolloutEngine,
    problems: Sequence[Problem],
    prompts: Sequence[list[int]],
    samples: range,
    lengths: tuple[int, int],
    seed: int,
) -> list[Trajectory]:
    """Sample questions whose prompts are padded to the same length; `lengths` are latent steps and answer tokens."""
    started = time.perf_counter()
    latent_steps, most_answer_tokens = lengths
    # Batches below the smallest size are filled up with later samples, which are computed and dropped.
    per_question = max(len(samples), -(-MIN_ROWS // len(problems)))
    computed = range(samples.start, samples.start + per_question)
    state = engine.start(prompts, [problem.question_id for problem in problems], seed, computed)
    for _ in range(latent_steps):
        state = engine.step(state)
    answers = engine.decode(state, most_answer_tokens)
    latents = state.latents.float().cpu().numpy()
    token_ids, answer_lengths = answers.token_ids.tolist(), answers.lengths.tolist()
    seconds = (time.perf_counter() - started) / (len(problems) * len(samples))
    return [
        _trajectory(
            engine,
            problem,
            len(prompts[question]),
            sample,
            latents[row],
            token_ids[row][: answer_lengths[row]],
            seconds,
        )
        for question, problem in enumerate(problems)
        for row, sample in enumerate(samples, start=question * per_question)
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
    answer = canonical_answer(reasoner.checkpoint.format.extract_answer(text))
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
        latents=latents,
        prompt_flops=prompt_flops if shared else 0.0,
        flops=own_flops if shared else own_flops + prompt_flops,
        seconds=seconds,
    )
