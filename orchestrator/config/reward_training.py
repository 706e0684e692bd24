"""Configuration schema of `latentswarm train-rm`."""

from collections.abc import Set
from typing import ClassVar, Self

from pydantic import Field, model_validator

from latent_core.reward.training.settings import RewardTrainingSettings
from orchestrator.config.environment import ClusterConfig, TrackingConfig
from orchestrator.config.paths import Place
from orchestrator.config.training import TrainingConfig


class TrainRewardConfig(TrainingConfig):
    """Everything that determines the training of a LatentRM.

    Attributes:
        data: Run directory of `latentswarm annotate`.
        validation_data: Another one, whose questions are held out; null holds out a share of `data`.
        allow_missing: Whether to train without the questions whose shards of labels are missing; they are refused else.
        validation_share: That share, chosen by the hash of question ids, so that it does not depend on their order.
        limit_questions: Train on so many questions only: with 50 and without patience the AUC on them must reach 1.
        reasoner: Where the reasoner of the data is, if it is no longer where it was; its files must be the same.
        training: The recipe.
        gain_samples: Samples of each held-out question to which the table of gains is fitted, for budget rule "gain";
            where it is not given, as many as they have candidates. Below 8 nothing is fitted.
        workers: Data-parallel training workers.
        gpus: GPUs of each worker; 0 trains on the CPU.
        shuffle_window: Questions that are read and shuffled together, at least; files are shuffled as a whole.
        max_failures: Workers that may be lost before the command gives up; training goes on from the last checkpoint.
        tracking: Where MLflow records go.
        cluster: The Ray cluster.
        plugins: Modules and paths of .py files that bring formats, feedback heads and other kinds of their own.
    """

    WITHOUT_INFLUENCE: ClassVar[Set[str]] = frozenset(
        {"gain_samples", "tracking", "cluster", "max_failures", "allow_missing", "plugins"}
    )
    SECTIONS: ClassVar[tuple[str, ...]] = ("training",)

    data: Place
    validation_data: Place | None = None
    allow_missing: bool = False
    validation_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    limit_questions: int | None = Field(default=None, ge=1)
    reasoner: Place | None = None
    training: RewardTrainingSettings = RewardTrainingSettings()
    gain_samples: int | None = Field(default=None, ge=0, le=1_000_000)
    workers: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)
    shuffle_window: int = Field(default=256, ge=1)
    max_failures: int = Field(default=8, ge=0)
    tracking: TrackingConfig = TrackingConfig()
    cluster: ClusterConfig = ClusterConfig()
    plugins: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.training.questions_per_batch % self.workers:
            raise ValueError(
                f"workers={self.workers} does not divide training.questions_per_batch="
                f"{self.training.questions_per_batch}; each worker takes an equal part of every batch"
            )
        return self
