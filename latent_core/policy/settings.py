"""Everything that determines the training of a policy, apart from its checkpoint, its sampler and its questions."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from latent_core.policy.baselines import BASELINES
from latent_core.policy.objectives import OBJECTIVES
from latent_core.samplers.base import LEAST_STRENGTH
from latent_core.settings import Settings, Share


class PolicySettings(Settings):
    """The recipe. The same recipe on the same questions gives the same weights on a CPU."""

    objective: str = Field(default="answer", description="a registered objective of policies")
    baseline: str = Field(default="leave_one_out", description="what a reward is compared with")
    trajectories: int = Field(default=4, ge=1, description="trajectories per question (G)")
    answers: int = Field(default=16, ge=1, description="sampled answers behind each trajectory (K)")
    temperature: float = Field(
        default=1.0, ge=LEAST_STRENGTH, description="at which answers are sampled, and their log-probabilities taken"
    )
    questions_per_update: int = Field(default=48, ge=1, description="fresh questions per update, over all workers")
    micro_batch: int = Field(default=16, ge=1, description="questions per pass; halved where memory is short")
    learning_rate: float = Field(default=1e-4, gt=0, lt=1, description="reached after the warm-up, and kept")
    warmup_updates: int = Field(default=10, ge=0, description="updates over which the learning rate rises")
    adam_betas: tuple[Share, Share] = Field(default=(0.9, 0.99), description="decay of AdamW's two moments")
    gradient_clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    clip: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="how far the importance ratio may leave 1 and still be followed; None: any",
    )
    importance_cap: float = Field(
        default=2.0, ge=1, description="where rollouts are of older weights, the largest importance ratio"
    )
    kl: float = Field(default=0.0, ge=0, description="coefficient of the divergence from the start")
    trainable: Literal["all", "value_projections", "lora"] = Field(
        default="all", description="which weights are trained; embeddings and output head never"
    )
    lora_rank: int = Field(default=8, ge=1, description="rank of the updates under lora")
    lora_alpha: float = Field(default=16.0, gt=0, description="numerator of their factor, alpha / rank")
    latent_sigma: float = Field(
        default=0.3,
        ge=LEAST_STRENGTH,
        description="standard deviation of latents in their likelihood, as a share of each latent's RMS",
    )
    length_cost: float = Field(
        default=0.0, ge=0, description="taken from the reward for thinking as long as possible; half of it for half"
    )
    shaping_weight: float = Field(default=0.0, ge=0, description="weight of a LatentRM's score in the reward")
    latent_steps: int | None = Field(default=None, ge=1, description="latent steps; None: the checkpoint's own")
    answer_tokens: int | None = Field(default=None, ge=1, description="longest answer; None: the checkpoint's own")

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        OBJECTIVES[value]  # raises with the nearest name
        return value

    @field_validator("baseline")
    @classmethod
    def _known_baseline(cls, value: str) -> str:
        BASELINES[value]
        return value

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        if OBJECTIVES[self.objective].uses_rewards and self.trajectories * self.answers == 1:
            raise ValueError(
                "trajectories x answers is 1, and a single answer has nothing to be compared with; ask for more answers"
            )
        return self

    def learning_rate_of(self, update: int) -> float:
        """Return the learning rate of an update (0-based): a linear warm-up, then constant."""
        return self.learning_rate * min(1.0, (update + 1) / max(1, self.warmup_updates))
