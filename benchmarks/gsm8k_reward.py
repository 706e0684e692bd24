"""A LatentRM of a reasoner on its own rollouts, in one process: labels, training, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from latent_core.reward.training.settings import RewardTrainingSettings
from latent_core.reward.training.trainer import RewardTrainer
from latent_core.reward.training.validation import Validation
from latent_core.samplers.base import Sampler
from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.base import Problem

Labels = LabelledQuestion
_HELD_OUT = 5
"""One question of so many is held out."""


@dataclass(frozen=True)
class TrainedReward:
    """What training came to.

    Attributes:
        train: Mixed questions that it was trained on.
        validation: Questions that were held out.
        numbers: Measured on these; empty where there was nothing to learn from.
        calibration: From scores to vote weights.
    """

    train: int
    validation: int
    numbers: dict[str, float]
    calibration: VoteCalibration

    @property
    def has_learned(self) -> bool:
        """Whether there were questions with right and wrong candidates on both sides."""
        return bool(self.numbers)


def label_problems(
    reasoner: LatentReasoner, sampler: Sampler, problems: Sequence[Problem], candidates: int, rollouts: int, seed: int
) -> list[Labels]:
    """Sample candidates of questions and label their latent steps by completions."""
    checkpoint = reasoner.checkpoint
    lengths = {"latent_steps": checkpoint.latent_steps, "answer_tokens": checkpoint.format.answer_tokens}
    rows = annotate(reasoner, sampler, problems, candidates, rollouts, seed=seed, **lengths)
    found = []
    for index, problem in enumerate(problems):
        own = [rows[row] for row in range(index * candidates, (index + 1) * candidates)]
        described = tuple(
            LabelledCandidate(
                correct=one.trajectory.correct,
                answer=one.trajectory.answer,
                # Of questions whose candidates are all right or all wrong no latents are needed.
                latents=None if one.labels is None else one.trajectory.latents,
                labels=one.labels,
                answer_ids=one.trajectory.answer_ids,
                failed=one.trajectory.error is not None,
            )
            for one in own
        )
        found.append(LabelledQuestion(problem.question_id, tuple(checkpoint.prompt_ids(problem.question)), described))
    return found


def train_reward_model(
    reasoner: LatentReasoner, labels: Sequence[Labels], updates: int, folder: Path, seed: int
) -> TrainedReward:
    """Train on the mixed questions that are not held out, save, and measure on the others."""
    held_out = [one for index, one in enumerate(labels) if index % _HELD_OUT == 0]
    mixed = [one for index, one in enumerate(labels) if index % _HELD_OUT and one.is_mixed]
    if not mixed or not any(one.is_mixed for one in held_out):
        return TrainedReward(len(mixed), len(held_out), {}, VoteCalibration())
    per_batch = min(16, len(mixed))
    settings = RewardTrainingSettings(
        seed=seed, updates=updates, questions_per_batch=per_batch, learning_rate=1e-4, warmup_updates=updates // 10
    )
    model = LatentRewardModel.from_reasoner(reasoner.checkpoint, seed).to(reasoner.device)
    trainer, rng = RewardTrainer(model, settings, updates), np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(updates):
        if len(order) < per_batch:
            order = rng.permutation(len(mixed)).tolist()
        trainer.step([mixed[order.pop()] for _ in range(per_batch)])
    model.eval().requires_grad_(False)
    validation = Validation(held_out, score_answer=False)
    report = validation.measure(model)
    card = RewardCard(objective=settings.objective, reasoner=reasoner.checkpoint.fingerprint, seed=seed)
    model.save(reasoner.checkpoint, folder, card.model_copy(update={"auc_by_step": validation.auc_by_step(model)}))
    return TrainedReward(len(mixed), len(held_out), report.numbers, report.calibration)
