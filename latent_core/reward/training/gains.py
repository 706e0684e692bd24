"""Gain table of a trained LatentRM, fitted on its held-out questions: see `latent_core.budgets.gain_table`.

Labels keep the latents of those questions alone whose candidates are right and wrong, which is all that training needs.
A gain table is about hopeless and sure questions as well: their samples are drawn anew, and scored.
"""

from collections.abc import Sequence

import numpy as np
import torch

from latent_core.budgets import DEFAULT_WAVES, GainTables
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.samplers import Sampler
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.selection.estimators import token_probabilities
from latent_core.tasks.base import Problem
from latent_core.trajectory import CutAnswers, TrajectoryBatch

FEWEST_SAMPLES = 2 * DEFAULT_WAVES[0]
"""Samples of a question without which there is nothing to decide."""
_QUESTIONS_AT_ONCE = 16


def fit_gains(
    reasoner: LatentReasoner,
    model: LatentRewardModel,
    problems: Sequence[Problem],
    sampler: Sampler,
    samples: int,
    calibration: VoteCalibration,
    *,
    latent_steps: int,
    answer_tokens: int,
    cut_answers: CutAnswers,
    seed: int = 0,
) -> GainTables:
    """Sample and score questions that the LatentRM was not trained on, and fit a gain table to what becomes of them.

    Args:
        reasoner: Whose trajectories the LatentRM reads.
        model: The LatentRM, in evaluation mode.
        problems: The questions.
        sampler: What makes samples differ: the table is for this setting.
        samples: Samples of each question; waves beyond them are left out.
        calibration: How scores become vote weights.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        cut_answers: What becomes of answers that were cut off.
        seed: Of the samples.

    Raises:
        ValueError: If there are fewer samples than a first wave has.
    """
    correct, votes, scores, logprobs, tokens = [], [], [], [], []
    for first in range(0, len(problems), _QUESTIONS_AT_ONCE):
        some = problems[first : first + _QUESTIONS_AT_ONCE]
        batch = sample_trajectories(
            reasoner,
            sampler,
            some,
            range(samples),
            latent_steps=latent_steps,
            answer_tokens=answer_tokens,
            seed=seed,
            # As stores keep them for a LatentRM.
            latents=torch.float16,
        ).judged(cut_answers)
        prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in some]
        scored = score_groups(model, prompts, _groups(some, batch, samples), score_answer=False)
        scores.append(scored.score.reshape(len(some), samples))
        votes.append(_codes(batch.answer).reshape(len(some), samples))
        correct.append(np.asarray(batch.correct).reshape(len(some), samples))
        failed = np.array([error is not None for error in batch.error])
        logprobs.append(np.where(failed, np.nan, batch.answer_logprob).astype(np.float64).reshape(len(some), samples))
        tokens.append(batch.answer_tokens.astype(np.float64).reshape(len(some), samples))
    known, sure = np.concatenate(scores), np.concatenate(logprobs)
    outcomes = Outcomes(
        np.concatenate(correct),
        np.concatenate(votes),
        known,
        calibration.weights(known),
        confidences=sure,
        confidence_weights=token_probabilities(sure, np.concatenate(tokens)),
    )
    return fit_gain_tables(outcomes, DEFAULT_WAVES, calibration.temperature, sampler=sampler.describe())


def _groups(problems: Sequence[Problem], batch: TrajectoryBatch, samples: int) -> list[QuestionToScore]:
    rows = list(batch)
    groups = [rows[first : first + samples] for first in range(0, len(rows), samples)]
    return [
        QuestionToScore(problem.question, tuple(row.latents for row in own), tuple(row.answer_ids for row in own))
        for problem, own in zip(problems, groups, strict=True)
    ]


def _codes(answers: Sequence[str | None]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Number answers by their first appearance; -1 where there is none."""
    known: dict[str, int] = {}
    return np.array([-1 if answer is None else known.setdefault(answer, len(known)) for answer in answers])
