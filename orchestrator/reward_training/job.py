"""Serializable training job: a plan as plain data that travels to workers, and what each of them loads by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.settings import RewardTrainingSettings
from latent_core.reward.training.validation import Validation
from latent_core.trajectory import CutAnswers
from orchestrator.reward_training.data import Encode, questions_of
from orchestrator.reward_training.order import read_questions
from orchestrator.reward_training.plan import RewardPlan, by_file, is_latent_rm


@dataclass(frozen=True)
class RewardJob:
    """Serializable form of a `RewardPlan`, which travels to workers.

    Attributes:
        settings: The recipe.
        reasoner: Source of the reasoner, for prompts.
        start: Source of the starting weights: a reasoner or a LatentRM.
        train: Question ids to train on, by shard.
        watched: Some of them, as (shard, id), which evaluations look at.
        validation: Held-out questions, as (shard, id).
        candidates: N of the training questions.
        validation_candidates: N of the validation questions.
        window: Questions that are shuffled together.
        per_batch: Questions per update.
        updates: Updates in all.
        validation_extractor: What finds the answers to validation questions in generated text; None for that of the
            reasoner's format.
        sampler: What made the validation questions' candidates differ.
        gain_samples: Samples of each of them to which the table of gains is fitted.
        cut_answers: What becomes of answers that were cut off.
    """

    settings: RewardTrainingSettings
    reasoner: str
    start: str
    train: dict[str, list[str]]
    watched: tuple[tuple[str, str], ...]
    validation: tuple[tuple[str, str], ...]
    candidates: int
    validation_candidates: int
    window: int
    per_batch: int
    updates: int
    validation_extractor: str | None = None
    sampler: Mapping[str, Any] = field(default_factory=dict)
    gain_samples: int = 0
    cut_answers: CutAnswers = "vote"

    @classmethod
    def of(cls, plan: RewardPlan) -> "RewardJob":
        """Take from a plan what workers need; local sources become absolute, workers have folders of their own."""
        settings = plan.config.training
        return cls(
            settings,
            _absolute(plan.reasoner.source),
            _absolute(settings.init or plan.reasoner.source),
            by_file(plan.train),
            tuple((ref.file, ref.question_id) for ref in plan.train[: settings.train_auc_questions]),
            tuple((ref.file, ref.question_id) for ref in plan.validation),
            plan.manifest.candidates,
            plan.validation_manifest.candidates,
            plan.config.shuffle_window,
            plan.per_batch,
            plan.updates,
            plan.validation_manifest.extractor,
            plan.validation_manifest.sampler,
            plan.validation_manifest.candidates if plan.config.gain_samples is None else plan.config.gain_samples,
            plan.validation_manifest.cut_answers,
        )

    def new_model(self) -> LatentRewardModel:
        """Return the model that training starts from, with trainable weights."""
        if is_latent_rm(self.start):
            return LatentRewardModel.from_pretrained(self.start, packed=False).requires_grad_(True)
        return LatentRewardModel.from_reasoner(Checkpoint.open(self.start), self.settings.seed).eval()

    def encoder(self) -> Encode:
        """Return the function from questions to the token ids of their prompts."""
        prompt_ids = Checkpoint.open(self.reasoner).prompt_ids
        return lru_cache(maxsize=1 << 16)(lambda question: tuple(prompt_ids(question)))

    def load_validation(self, encode: Encode) -> Validation:
        """Read the held-out questions."""
        return _load(self.validation, self.validation_candidates, encode, self.settings.score_answer)

    def load_watched(self, encode: Encode) -> Validation:
        """Read the training questions that evaluations look at."""
        return _load(self.watched, self.candidates, encode, self.settings.score_answer)


def _load(addresses: Sequence[tuple[str, str]], candidates: int, encode: Encode, score_answer: bool) -> Validation:
    questions = questions_of(read_questions(addresses, candidates), candidates, encode)
    return Validation(questions, score_answer=score_answer)


def _absolute(source: str) -> str:
    local = Path(source).expanduser()
    return str(local.absolute()) if local.is_dir() else source
