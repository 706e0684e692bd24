"""Sample trajectories of a block of questions: prefill, branch, step x T, decode, and read the answers."""

import time
from collections.abc import Sequence

import torch

from latent_core.engine.rollout import RolloutEngine
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.answers import canonical_answer
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory


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
    started = time.perf_counter()
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    engine = RolloutEngine(reasoner, sampler)
    state = engine.start(prompts, [problem.question_id for problem in problems], seed, samples)
    for _ in range(latent_steps):
        state = engine.step(state)
    answers = engine.decode(state, answer_tokens)
    latents = state.latents.float().cpu()
    bad_step = (~torch.isfinite(latents).all(dim=-1)).int()
    token_ids, lengths = answers.token_ids.tolist(), answers.lengths.tolist()
    seconds = (time.perf_counter() - started) / state.rows

    trajectories = []
    for row in range(state.rows):
        problem, prompt = problems[row // len(samples)], prompts[row // len(samples)]
        sample_index = samples[row % len(samples)]
        if bool(bad_step[row].any()):
            step = int(bad_step[row].argmax()) + 1
            trajectories.append(Trajectory.failed(problem, sample_index, f"non-finite latent at step {step}"))
            continue
        text = reasoner.decode_text(token_ids[row][: lengths[row]])
        answer = canonical_answer(reasoner.checkpoint.format.extract_answer(text))
        own_prompt = reasoner.flops.prompt(len(prompt)) if sampler.perturbs_prompt else 0.0
        trajectories.append(
            Trajectory(
                question_id=problem.question_id,
                sample_index=sample_index,
                answer_text=text,
                answer=answer,
                correct=problem.is_correct(answer),
                latent_steps=latent_steps,
                answer_tokens=lengths[row],
                latents=latents[row].numpy(),
                prompt_flops=0.0 if sampler.perturbs_prompt else reasoner.flops.prompt(len(prompt)),
                flops=own_prompt + reasoner.flops.trajectory(len(prompt), latent_steps, 1, lengths[row]),
                seconds=seconds,
            )
        )
    return trajectories
