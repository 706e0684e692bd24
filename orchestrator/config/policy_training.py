"""Configuration schema of `latentswarm train-policy`."""

from collections.abc import Set
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from latent_core.policy.settings import PolicySettings
from latent_core.settings import Settings
from orchestrator.config.environment import ActorConfig, ClusterConfig, TrackingConfig
from orchestrator.config.paths import Place
from orchestrator.config.run import SamplerConfig
from orchestrator.config.task import TaskConfig
from orchestrator.config.training import TrainingConfig
from orchestrator.config.types import MAX_SEED, Count, Dtype


class TrainingTaskConfig(TaskConfig):
    """Which questions are trained on; see `TaskConfig`.

    Attributes:
        split: Split of a registered task or of the hub's data set; never the one that results are reported on.
    """

    split: str = "train"


class ValidationTaskConfig(TaskConfig):
    """Which questions training is judged by; see `TaskConfig`.

    Attributes:
        split: Split of a registered task or of the hub's data set.
    """

    split: str = "validation"


class LearnerConfig(Settings):
    """The workers that learn.

    Attributes:
        workers: Data-parallel workers of Ray Train; each takes an equal part of the questions of every update.
        threads: Logical CPUs and threads of each.
        gpus: GPUs of each; 0 trains on the CPU.
    """

    workers: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)


class ValidationConfig(Settings):
    """How training is judged, and when it ends early.

    Attributes:
        task: The questions; where it is not given, a share of the training questions is held out.
        share: That share, chosen by the hash of question ids, so that it does not depend on their order.
        every: Updates from one validation to the next; there is a checkpoint at each.
        samples: Samples of the sampler per question, whose mean, vote and coverage are measured beside greedy decoding.
        stop_on: What makes a policy better than another one.
        patience: Training ends after so many validations without a better one; null: after `updates`.
    """

    task: ValidationTaskConfig | None = None
    share: float = Field(default=0.1, gt=0.0, lt=1.0)
    every: int = Field(default=10, ge=1)
    samples: int = Field(default=16, ge=1, le=1024)
    stop_on: Literal["greedy", "mean", "majority", "coverage"] = "greedy"
    patience: int | None = Field(default=None, ge=1)


class TrainPolicyConfig(TrainingConfig):
    """Everything that determines the training of a policy.

    Attributes:
        checkpoint: The reasoner that training begins with: a directory, a hub id, or "bundled:NAME".
        task: The training questions.
        validation: How training is judged.
        sampler: What makes the trajectories of a question differ: `kind` and the settings of that kind.
        policy: The recipe.
        updates: Updates at most.
        staleness: By how many updates the weights of rollouts are behind the learner's: with 0 actors and learner take
            turns, with 1 they work at the same time.
        seed: Seed of all random draws, and of the order of questions.
        reward_model: A LatentRM whose scores shape the reward, weighed by policy.shaping_weight.
        actors: Number of actors that roll out.
        actor: What one actor holds.
        learner: The workers that learn.
        dtype: Precision of weights and activations; steps are taken in single precision.
        max_failures: Learners that may be lost before the command gives up; it goes on from the last checkpoint.
        tracking: Where MLflow records go.
        cluster: The Ray cluster.
        plugins: Modules and paths of .py files that bring samplers, tasks and other kinds of their own.
    """

    WITHOUT_INFLUENCE: ClassVar[Set[str]] = frozenset(
        {"tracking", "cluster", "max_failures", "plugins", "actors", "actor"}
    )
    SECTIONS: ClassVar[tuple[str, ...]] = ("policy", "validation", "learner")

    checkpoint: Place
    task: TrainingTaskConfig
    validation: ValidationConfig = ValidationConfig()
    sampler: SamplerConfig
    policy: PolicySettings = PolicySettings()
    updates: int = Field(default=120, ge=1, le=1_000_000)
    staleness: int = Field(default=0, ge=0, le=16)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    reward_model: Place | None = None
    actors: Count = 1
    actor: ActorConfig = ActorConfig()
    learner: LearnerConfig = LearnerConfig()
    dtype: Dtype = "float32"
    max_failures: int = Field(default=8, ge=0)
    tracking: TrackingConfig = TrackingConfig()
    cluster: ClusterConfig = ClusterConfig()
    plugins: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        questions = self.policy.questions_per_update
        if questions % self.learner.workers:
            raise ValueError(
                f"learner.workers={self.learner.workers} does not divide policy.questions_per_update={questions}; each "
                "worker takes an equal part of every update"
            )
        if self.dtype == "float16":
            raise ValueError("dtype=float16: gradients vanish in its range; use float32 or bfloat16")
        if (self.reward_model is None) != (self.policy.shaping_weight == 0.0):
            raise ValueError("reward_model and policy.shaping_weight: give both, or neither")
        if any(task is not None and task.cut_answers != "abstain" for task in (self.task, self.validation.task)):
            raise ValueError("task.cut_answers: an answer that was cut off earns nothing; leave it out")
        return self
