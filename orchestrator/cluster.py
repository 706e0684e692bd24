"""Connect to Ray, check that it can hold what was asked for, and start the actors."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.config import ActorConfig, ClusterConfig, RunConfig
from orchestrator.plan import Plan
from workers.pool import NAMESPACE, ActorSpec, create_pool, stop_pool
from workers.reasoner import ReasonerWorker
from workers.scorer import ScorerWorker

_CPUS_FOR_STAGES = 1
"""Logical CPUs that have to stay free for the pipeline's tasks: with none left they would wait for ever."""
_SMALLEST_LOCAL_CLUSTER = 4
_LOCAL_ENVIRONMENT = {
    # Waiting OpenMP threads must not spin on cores that other processes need.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large tensors come from the heap instead of being mapped and unmapped at every operation.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    # Stages and trials are processes that mostly wait; Ray's default expects no more of them than cores, and warns.
    "RAY_worker_maximum_startup_concurrency": "8",
    # Idle workers beyond the number of cores would be ended after a second, and every pipeline that follows would wait
    # seconds for new ones.
    "RAY_num_workers_soft_limit": "32",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
}
"""Inherited by all processes of a local cluster. Set for the cluster as a whole: an environment for single actors
would cost each of them a process started from nothing."""


def connect(cluster: ClusterConfig, cpus: int, console: Console) -> None:
    """Connect to the configured cluster, or start a local one.

    Args:
        cluster: Where it is.
        cpus: Logical CPUs that a local one has to have.
        console: Where to say what has been found.

    Raises:
        UserError: If there is no cluster at the address.
    """
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "namespace": NAMESPACE}
    # With the default settings this says at every start that a new local cluster asks for a token.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    if address:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as error:
            raise UserError(f"cluster.address {address}: no Ray cluster answers there ({error})") from error
    else:
        for name, value in _LOCAL_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Logical CPUs only bound what is scheduled; too few of them and stages would wait for each other.
        logical = max(_SMALLEST_LOCAL_CLUSTER, os.cpu_count() or 1, cpus)
        ray.init(address="local", num_cpus=logical, include_dashboard=False, **quiet)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # The detectors warn about what one shard per block is meant to be, and print over the progress display.
    context.issue_detectors_config.detectors = []
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    console.print(f"Ray: {'cluster ' + address if address else 'local cluster'}, {_resources_line()}")


def check_resources(config: RunConfig) -> None:
    """Compare what the actors need with what the cluster has.

    Raises:
        UserError: If the cluster is too small; the message names what is missing.
    """
    whole = ray.cluster_resources()
    pools = [f"{config.actors} reasoners x ({config.actor.cpus} CPUs, {config.actor.gpus:g} GPUs)"]
    if config.scorer.checkpoint is not None:
        scorer = config.scorer
        pools.append(f"{scorer.actors} scorers x ({scorer.actor.cpus} CPUs, {scorer.actor.gpus:g} GPUs)")
    for resource, needed in (("GPU", _gpus_needed(config)), ("CPU", cpus_needed(config))):
        has = whole.get(resource, 0)
        if needed > has:
            raise UserError(
                f"actors: {' + '.join(pools)}, and {_CPUS_FOR_STAGES} CPU for the pipeline, need {needed:g} "
                f"{resource}s, but the cluster has {has:g}; ask for fewer or smaller actors, or add nodes"
            )


@contextmanager
def reasoner_pool(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Start the reasoner actors of a run and end them afterwards.

    Yields their names at once: while the actors load, the stages that will call them can start.
    """
    config = plan.config
    name = f"reasoner-{plan.checkpoint.fingerprint[:8]}"
    with _pool(
        name, ReasonerWorker, _everywhere(config.checkpoint), config.dtype, config.actor, config.actors
    ) as names:
        yield names


@contextmanager
def scorer_pool(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Start the scorer actors of a run, if it has any, and end them afterwards. Yields their names at once."""
    scorer = plan.config.scorer
    if plan.scorer is None:
        yield ()
        return
    name = f"scorer-{plan.scorer.reward.fingerprint[:8]}"
    with _pool(name, ScorerWorker, plan.scorer.source, scorer.dtype, scorer.actor, scorer.actors) as names:
        yield names


@contextmanager
def _pool(name: str, worker: type, source: str, dtype: str, actor: ActorConfig, size: int) -> Iterator[tuple[str, ...]]:
    device = "cuda" if actor.gpus > 0 else "cpu"
    spec = ActorSpec(worker, (source, dtype, actor.cpus, device), actor.cpus, actor.gpus)
    names = create_pool(f"{name}-{uuid.uuid4().hex[:6]}", spec, size)
    try:
        yield tuple(names)
    finally:
        stop_pool(names)


def _everywhere(checkpoint: str) -> str:
    """Return a name of a checkpoint that means the same in actors, which have working directories of their own."""
    local = Path(checkpoint).expanduser()
    return str(local.absolute()) if local.is_dir() else checkpoint


def cpus_needed(config: RunConfig) -> int:
    """Return the logical CPUs of all actors and of the pipeline's tasks."""
    scorers = config.scorer.actors * config.scorer.actor.cpus if config.scorer.checkpoint is not None else 0
    return config.actors * config.actor.cpus + scorers + _CPUS_FOR_STAGES


def _gpus_needed(config: RunConfig) -> float:
    scorers = config.scorer.actors * config.scorer.actor.gpus if config.scorer.checkpoint is not None else 0.0
    return config.actors * config.actor.gpus + scorers


def _resources_line() -> str:
    whole = ray.cluster_resources()
    return f"{whole.get('CPU', 0):g} logical CPUs, {whole.get('GPU', 0):g} GPUs"
