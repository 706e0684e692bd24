"""Validation of a policy on questions of its own, which are neither trained on nor tested on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.accuracy import Validation, compare
from latent_core.policy.checks import answer_tokens_of, latent_steps_of
from latent_core.policy.settings import PolicySettings
from latent_core.samplers.base import Sampler
from latent_core.samplers.none import NoSampling
from latent_core.selection.estimators.coverage import pass_at_n
from latent_core.selection.estimators.majority import majority_at_n
from latent_core.tasks.base import Problem
from latent_core.trajectory import TrajectoryBatch

__all__ = ["Validation", "compare", "validate"]

_QUESTIONS_AT_ONCE = 64


def validate(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    settings: PolicySettings,
    seed: int,
    *,
    samples: int = 16,
) -> Validation:
    """Judge a policy by its undisturbed trajectory and by samples; cut answers abstain.

    Args:
        reasoner: The policy.
        sampler: What makes samples differ; its answers are greedy unless it says otherwise.
        problems: The questions.
        settings: The recipe, for the number of latent steps and of answer tokens.
        seed: Seed of the draws, the same at every validation.
        samples: Samples per question.

    Returns:
        Accuracies in the order of the questions.
    """
    parts = [
        _validated(reasoner, sampler, problems[first : first + _QUESTIONS_AT_ONCE], settings, seed, samples)
        for first in range(0, len(problems), _QUESTIONS_AT_ONCE)
    ]
    return Validation.concat(parts)


def _validated(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    settings: PolicySettings,
    seed: int,
    samples: int,
) -> Validation:
    def sampled(sampler: Sampler, count: int) -> TrajectoryBatch:
        return sample_trajectories(
            reasoner,
            sampler,
            problems,
            range(count),
            latent_steps=latent_steps_of(reasoner.checkpoint, settings),
            answer_tokens=answer_tokens_of(reasoner.checkpoint, settings),
            seed=seed,
            latents=None,
        ).judged("abstain")

    greedy, rows = sampled(NoSampling(), 1), sampled(sampler, samples)
    correct = rows.correct.reshape(len(problems), samples)
    votes = np.stack([_codes(rows.answer[first : first + samples]) for first in range(0, len(rows), samples)])
    return Validation(
        question_id=[problem.question_id for problem in problems],
        greedy=greedy.correct.astype(np.float64),
        mean=correct.mean(axis=1),
        majority=majority_at_n(votes, correct, samples),
        coverage=pass_at_n(correct, samples),
    )


def _codes(answers: Sequence[str | None]) -> NDArray[np.int64]:
    """Number the answers of a question by their first appearance; -1 where there is none."""
    known: dict[str, int] = {}
    return np.array([-1 if answer is None else known.setdefault(answer, len(known)) for answer in answers])
