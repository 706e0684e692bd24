"""Connect to Ray, check that it can hold what was asked for, and start the reasoner actors."""

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
from orchestrator.config import RunConfig
from orchestrator.plan import Plan
from workers.pool import NAMESPACE, ActorSpec, create_pool, stop_pool
from workers.reasoner import ReasonerWorker

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
}
"""Inherited by all processes of a local cluster. Set for the cluster as a whole: an environment for single actors
would cost each of them a process started from nothing."""


def connect(config: RunConfig, console: Console) -> None:
    """Connect to the configured cluster, or start a local one.

    Raises:
        UserError: If there is no cluster at the address.
    """
    address = config.cluster.address or os.environ.get("RAY_ADDRESS")
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
        cpus = max(_SMALLEST_LOCAL_CLUSTER, os.cpu_count() or 1, _cpus_needed(config))
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
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
    gpus = config.actors * config.actor.gpus
    if gpus > whole.get("GPU", 0):
        raise UserError(
            f"actors: {config.actors} actors x {config.actor.gpus:g} GPUs need {gpus:g} GPUs, but the cluster has "
            f"{whole.get('GPU', 0):g}; lower actors or actor.gpus, or add nodes"
        )
    if _cpus_needed(config) > whole.get("CPU", 0):
        raise UserError(
            f"actors: {config.actors} actors x {config.actor.cpus} CPUs, and {_CPUS_FOR_STAGES} for the pipeline, need "
            f"{_cpus_needed(config)} CPUs, but the cluster has {whole.get('CPU', 0):g}; lower actors or actor.cpus"
        )


@contextmanager
def reasoner_pool(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Start the reasoner actors of a run and end them afterwards.

    Yields their names at once: while the actors load, the stages that will call them can start.
    """
    config = plan.config
    # Actors have working directories of their own; a hub id or a bundled name means the same on every node.
    local = Path(config.checkpoint).expanduser()
    source = str(local.absolute()) if local.is_dir() else config.checkpoint
    device = "cuda" if config.actor.gpus > 0 else "cpu"
    arguments = (source, config.dtype, config.actor.cpus, device)
    spec = ActorSpec(ReasonerWorker, arguments, config.actor.cpus, config.actor.gpus)
    names = create_pool(f"reasoner-{plan.checkpoint.fingerprint[:8]}-{uuid.uuid4().hex[:6]}", spec, config.actors)
    try:
        yield tuple(names)
    finally:
        stop_pool(names)


def _cpus_needed(config: RunConfig) -> int:
    return config.actors * config.actor.cpus + _CPUS_FOR_STAGES


def _resources_line() -> str:
    whole = ray.cluster_resources()
    return f"{whole.get('CPU', 0):g} logical CPUs, {whole.get('GPU', 0):g} GPUs"
