"""Configuration schema of `latentswarm annotate`."""

from typing import Literal

from pydantic import Field, field_validator

from latent_core.samplers import Sampler
from latent_core.settings import Settings
from orchestrator.config.environment import ActorConfig, ClusterConfig
from orchestrator.config.paths import Place
from orchestrator.config.run import RunConfig, SamplerConfig
from orchestrator.config.task import TaskConfig
from orchestrator.config.types import MAX_SEED, Count, Dtype


class LabelStoreConfig(Settings):
    """Where labelled candidates are kept.

    Attributes:
        path: Directory or fsspec-style URI; may be the one that runs use.
        latents: Precision of the latent vectors.
    """

    path: Place = "runs/store"
    latents: Literal["float16"] = "float16"


class AnnotateConfig(Settings):
    """Everything that determines a labelled set.

    Attributes:
        checkpoint: The reasoner: a directory, a hub id, or "bundled:NAME".
        task: The questions.
        sampler: What makes candidates and completions differ.
        candidates: N, trajectories per question.
        rollouts: M, completions per trajectory and latent step; 0 labels last steps only.
        seed: Seed of all random draws.
        latent_steps: T; the checkpoint's number where it is not given.
        answer_tokens: Longest answer in tokens; the family's default where it is not given.
        micro_batch: Questions per actor call.
        actors: Number of reasoner actors.
        actor: What one actor holds.
        dtype: Precision of weights and activations.
        store: Where labelled candidates are kept.
        cluster: The Ray cluster.
        plugins: Modules and paths of .py files that bring samplers, tasks and other kinds of their own.
    """

    checkpoint: Place
    task: TaskConfig
    sampler: SamplerConfig
    candidates: int = Field(default=16, ge=2, le=1_000_000)
    rollouts: int = Field(default=8, ge=0, le=1_000_000)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    latent_steps: Count | None = None
    answer_tokens: Count | None = None
    micro_batch: Count = 8
    actors: Count = 1
    actor: ActorConfig = ActorConfig()
    dtype: Dtype = "float32"
    store: LabelStoreConfig = LabelStoreConfig()
    cluster: ClusterConfig = ClusterConfig()
    plugins: tuple[str, ...] = ()

    @field_validator("sampler")
    @classmethod
    def _must_differ(cls, value: Sampler) -> Sampler:
        if value.deterministic:
            raise ValueError(f"with {value.describe()!r} all candidates are the same; use one that samples")
        return value

    def as_run(self) -> RunConfig:
        """Return the run that samples the same candidates."""
        shared = set(RunConfig.model_fields) & set(type(self).model_fields) - {"store"}
        plain = self.model_dump(mode="json", include=shared)
        return RunConfig.model_validate(
            {**plain, "budgets": [self.candidates], "store": {"path": self.store.path, "latents": self.store.latents}}
        )
