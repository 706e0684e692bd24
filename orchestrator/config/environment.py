"""Settings of the environment: where a run computes, keeps and reports (actors, Ray cluster, store, MLflow)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from latent_core.settings import Settings
from orchestrator.config.paths import Place, check_variables
from orchestrator.config.types import Count


class ActorConfig(Settings):
    """What one actor holds.

    Attributes:
        cpus: Logical CPUs and threads.
        gpus: GPUs; fractions let actors share one. 0 runs on the CPU.
        per_node: At most so many actors of this pool on one node; where it is not given, Ray chooses their nodes.
    """

    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)
    per_node: int | None = Field(default=None, ge=1)

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("above 1, GPUs of an actor must be a whole number")
        return value


class StoreConfig(Settings):
    """Where trajectories are kept.

    Attributes:
        path: Directory or fsspec-style URI; shared by all runs, since what it holds is addressed by content.
        latents: Whether latent vectors are kept with the trajectories, and how precisely; "auto" keeps them as float16
            where a scorer has to read them, and not at all elsewhere.
        samples_per_shard: Most sample indices in one shard; with `micro_batch` it sets the rows of one actor call.
    """

    path: Place = "runs/store"
    latents: Literal["auto", "none", "float16", "float32"] = "auto"
    samples_per_shard: Count = 64


class TrackingConfig(Settings):
    """Where MLflow records go.

    Attributes:
        uri: Tracking URI; the environment's MLFLOW_TRACKING_URI wins over it, and without either a SQLite file
            `mlflow.db` next to the run directory is used.
        experiment: Name of the MLflow experiment.
    """

    uri: Annotated[str, AfterValidator(check_variables)] | None = None
    # MLflow refuses longer names, and would do so when everything has been computed.
    experiment: str = Field(default="latentswarm", min_length=1, max_length=500)


class ClusterConfig(Settings):
    """The Ray cluster.

    Attributes:
        address: Address of a running cluster; RAY_ADDRESS is used where it is not given, and without either a local
            cluster is started.
        connect_seconds: How long to wait for an answer from that address.
    """

    address: str | None = None
    connect_seconds: float = Field(default=30.0, gt=0, le=3600, allow_inf_nan=False)
