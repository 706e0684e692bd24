"""Everything that determines the training of a LatentRM, apart from its data."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from latent_core.reward.losses import LOSSES
from latent_core.settings import Settings, Share


class RewardTrainingSettings(Settings):
    """The recipe. The same recipe on the same data gives the same weights on a CPU.

    An epoch is every training question once, in an order of its own; what does not fill a batch is left for later
    epochs.
    """

    objective: str = Field(default="contrastive", description="a registered objective")
    init: str | None = Field(
        default=None,
        description="where the weights start: a reasoner, or a LatentRM to go on from; null: the reasoner whose "
        "trajectories the data holds",
    )
    score_answer: bool = Field(default=False, description="train on the written answer too, as one more step")
    seed: int = Field(default=0, ge=0, description="seed of the head's first weights, the order and all dropout")
    epochs: float = Field(default=10.0, gt=0, description="passes over the training questions")
    updates: int | None = Field(default=None, ge=1, description="optimizer updates, in place of epochs")
    questions_per_batch: int = Field(default=16, ge=1, description="questions per update, over all workers")
    learning_rate: float = Field(default=3e-4, gt=0, lt=1, description="peak, reached after the warm-up")
    final_learning_rate: float = Field(default=0.0, ge=0, lt=1, description="reached at the end along a cosine")
    warmup_updates: int = Field(default=50, ge=0, description="updates over which the learning rate rises")
    weight_decay: float = Field(default=0.01, ge=0, description="of matrices; biases and norms have none")
    adam_betas: tuple[Share, Share] = Field(default=(0.9, 0.98), description="decay of both moments of AdamW")
    gradient_clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="after embeddings, attention and feed-forward blocks, and before the head"
    )
    evaluate_every: int = Field(default=100, ge=1, description="updates between two evaluations and checkpoints")
    report_every: int = Field(default=10, ge=1, description="updates that one point of the loss curve averages")
    patience: int | None = Field(
        default=10, ge=1, description="evaluations without a better one after which training stops; null: never"
    )
    stop_on: Literal["auc", "best_of_n"] = Field(
        default="auc",
        description="what makes an evaluation better: the within-question AUC, which uses every pair of candidates "
        "and is the steadier one, or best-of-n accuracy, averaged over n",
    )
    train_auc_questions: int = Field(
        default=64, ge=1, description="training questions that evaluations look at too, so that memorising shows"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads per worker; the same number gives the same weights")

    @field_validator("objective")
    @classmethod
    def _known(cls, value: str) -> str:
        LOSSES[value]  # raises with the nearest name
        return value

    @model_validator(mode="after")
    def _rates_fall(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate={self.final_learning_rate} is above learning_rate={self.learning_rate}"
            )
        return self
