"""Ray cluster: connect, check that its nodes can hold what was asked for, and start the actors."""

import gc
import json
import logging
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.data
from rich.console import Console

from latent_core.errors import UserError
from latent_core.plugins import VARIABLE, load_from_environment, loaded_plugins
from orchestrator.config.environment import ActorConfig, ClusterConfig
from orchestrator.config.run import RunConfig
from orchestrator.console import say
from orchestrator.pipeline.forked_workers import interpreter
from orchestrator.pipeline.interrupts import own_handler_of_sigterm
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT
from orchestrator.pipeline.ray_address import check_address, ends_in_time, refusal
from workers.placement import PoolSize, alive_nodes, describe_nodes, place, pool_capacity
from workers.policy import PolicyWorker
from workers.pool import NAMESPACE, ActorSpec, create_pool, stop_pool
from workers.reasoner import ReasonerWorker
from workers.scorer import ScorerWorker

if TYPE_CHECKING:
    # Its settings import torch, for which nobody else's cluster has to wait.
    from orchestrator.config.policy_training import TrainPolicyConfig

_CPUS_FOR_STAGES = 1
"""Logical CPUs that have to stay free for the pipeline's tasks: with none left they would wait for ever."""
_SMALLEST_LOCAL_CLUSTER = 4
_KEYS = {"reasoners": "actors", "scorers": "scorer.actors"}
"""Where the size of a pool is configured."""


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
    quiet |= _with_plugins()
    # With the default settings this says at every start that a new local cluster asks for a token.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    if address and address != "local":
        where = f"cluster.address {address}"
        reached = check_address(address, cluster.connect_seconds)
        try:
            with own_handler_of_sigterm(), ends_in_time(where, cluster.connect_seconds + 60):
                ray.init(address=reached, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise refusal(where, error) from error
    else:
        for name, value in LOCAL_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Logical CPUs only bound what is scheduled; too few of them and stages would wait for each other.
        logical = max(_SMALLEST_LOCAL_CLUSTER, os.cpu_count() or 1, cpus)
        _start_local(logical, quiet)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # The detectors warn about what one shard per block is meant to be, and print over the progress display.
    context.issue_detectors_config.detectors = []
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    say(console, f"Ray: {'cluster ' + address if address else 'local cluster'}, {_resources_line()}")


def disconnect() -> None:
    """Leave the cluster, and end it if it is a local one.

    Ray frees its core worker while other threads go on; one whose garbage collection frees a reference to an object
    just then ends the whole process with code 1 (Ray 2.60.0). Pipelines leave such references in cycles, and the thread
    that sends to MLflow allocates a lot: nothing is collected meanwhile.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if collecting:
            gc.enable()


def _with_plugins() -> dict[str, Any]:
    """Return what lets every process of the cluster import the plugins of this one before it does anything else."""
    if not (plugins := loaded_plugins()):
        return {}
    # Only then: a process with an environment of its own is none of those that wait for work already.
    hook = f"{load_from_environment.__module__}.{load_from_environment.__name__}"
    return {"runtime_env": {"env_vars": {VARIABLE: json.dumps(plugins)}, "worker_process_setup_hook": hook}}


def _start_local(cpus: int, quiet: dict[str, Any]) -> None:
    """Start a cluster of this machine that ends with this process.

    Raises:
        UserError: If it does not start; Ray says why in exceptions of every kind.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        with own_handler_of_sigterm(), _started_with(interpreter()):
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
    except Exception as error:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        cure = "its logs are in ray/session_latest/logs there"
        if "AF_UNIX" in text:
            cure = "name a shorter TMPDIR: paths of sockets have at most 107 characters"
        elif isinstance(error, OSError):
            cure = "name a TMPDIR and a HOME that can be written; HOME holds the token of local clusters"
        raise UserError(f"a local Ray cluster cannot be started in {folder}: {text}; {cure}") from error


@contextmanager
def _started_with(interpreter: str) -> Iterator[None]:
    # Ray has no setting for it that would not give workers an environment of their own.
    before, sys.executable = sys.executable, interpreter
    try:
        yield
    finally:
        sys.executable = before


def check_resources(config: RunConfig) -> None:
    """Compare what the actors need with what the cluster has, in total and node by node.

    Raises:
        UserError: If the cluster is too small; the message names what is missing.
    """
    nodes = alive_nodes(ray.nodes())
    pools = actor_pools(config)
    all_pools = " + ".join(_describe(name, pool) for name, pool in pools.items())
    for resource, needed, has in (
        ("GPU", sum(pool.actors * pool.gpus for pool in pools.values()), sum(node.gpus for node in nodes)),
        ("CPU", cpus_needed(config), sum(node.cpus for node in nodes)),
    ):
        if needed > has:
            raise UserError(
                f"actors: {all_pools}, and {_CPUS_FOR_STAGES} CPU for the pipeline, need {needed:g} "
                f"{resource}s, but the cluster has {has:g}; ask for fewer or smaller actors, or add nodes"
            )
    for name, pool in pools.items():
        capacity = pool_capacity(nodes, pool)
        if capacity == 0:
            raise UserError(
                f"{_KEYS[name]}: {_describe(name, pool)}: no node has {pool.cpus:g} CPUs and {pool.gpus:g} GPUs for "
                f"one of them; the nodes are {describe_nodes(nodes)}; ask for smaller actors, or add larger nodes"
            )
        if capacity < pool.actors:
            raise UserError(
                f"{_KEYS[name]}: {_describe(name, pool)}: the nodes have room for {capacity} of {pool.actors}, "
                f"although the total would do; they are {describe_nodes(nodes)}; ask for fewer or smaller actors, or "
                "add nodes"
            )
    if place(nodes, list(pools.values())) is None:
        raise UserError(
            f"actors: {all_pools}: each pool fits by itself, but not together; the nodes are "
            f"{describe_nodes(nodes)}; ask for fewer or smaller actors, or add nodes"
        )


def actor_pools(config: RunConfig) -> dict[str, PoolSize]:
    """Return the sizes of the pools of a run: its reasoners, and its scorers if it has any."""
    pools = {"reasoners": _pool_size(config.actors, config.actor)}
    if config.scorer.checkpoint is not None:
        pools["scorers"] = _pool_size(config.scorer.actors, config.scorer.actor)
    return pools


def _pool_size(actors: int, actor: ActorConfig) -> PoolSize:
    return PoolSize(actors, actor.cpus, actor.gpus, actor.per_node)


def _describe(name: str, pool: PoolSize) -> str:
    per_node = "" if pool.per_node is None else f", at most {pool.per_node} on a node"
    return f"{pool.actors} {name} x ({pool.cpus:g} CPUs, {pool.gpus:g} GPUs{per_node})"


def _nodes_for(name: str, config: RunConfig) -> Sequence[str]:
    """Return the node of every actor of a pool; nothing where no pool has a wish and Ray may choose."""
    pools = actor_pools(config)
    if all(pool.per_node is None for pool in pools.values()):
        return ()
    # All pools are placed together: one that Ray had placed might sit where another one has to be.
    placed = place(alive_nodes(ray.nodes()), list(pools.values()))
    return dict(zip(pools, placed, strict=True))[name] if placed else ()


@contextmanager
def reasoner_pool(config: RunConfig, fingerprint: str) -> Iterator[tuple[str, ...]]:
    """Start the reasoner actors of a run and end them afterwards.

    Yields their names at once: while the actors load, the stages that will call them can start.

    Args:
        config: The configuration.
        fingerprint: Of the checkpoint; actors are named after it.
    """
    name = f"reasoner-{fingerprint[:8]}"
    spec = _spec(ReasonerWorker, _everywhere(config.checkpoint), config.dtype, config.actor)
    with _pool(name, spec, config.actors, _nodes_for("reasoners", config)) as names:
        yield names


@contextmanager
def scorer_pool(config: RunConfig, fingerprint: str | None) -> Iterator[tuple[str, ...]]:
    """Start the scorer actors of a run, if it has any, and end them afterwards. Yields their names at once.

    Args:
        config: The configuration.
        fingerprint: Of the LatentRM; None where there is none.
    """
    scorer = config.scorer
    if scorer.checkpoint is None or fingerprint is None:
        yield ()
        return
    name = f"scorer-{fingerprint[:8]}"
    spec = _spec(ScorerWorker, _everywhere(scorer.checkpoint), scorer.dtype, scorer.actor)
    with _pool(name, spec, scorer.actors, _nodes_for("scorers", config)) as names:
        yield names


@contextmanager
def policy_pool(config: "TrainPolicyConfig", fingerprint: str) -> Iterator[tuple[str, ...]]:
    """Start the actors that roll out a policy in training, and end them afterwards. Yields their names at once.

    Args:
        config: The configuration.
        fingerprint: Of the checkpoint that training begins with.
    """
    spec = _spec(PolicyWorker, _everywhere(config.checkpoint), config.dtype, config.actor)
    size, nodes = _pool_size(config.actors, config.actor), alive_nodes(ray.nodes())
    # Ray chooses where nobody has a wish; the learner finds its place beside them.
    placed = None if size.per_node is None else place(nodes, [size])
    with _pool(f"policy-{fingerprint[:8]}", spec, config.actors, placed[0] if placed else ()) as names:
        yield names


def check_policy_resources(config: "TrainPolicyConfig") -> None:
    """Compare what actors and learners need with what the cluster has.

    Raises:
        UserError: If the cluster is too small.
    """
    nodes, learner = alive_nodes(ray.nodes()), config.learner
    actors, learners = _pool_size(config.actors, config.actor), PoolSize(learner.workers, learner.threads, learner.gpus)
    if place(nodes, [actors, learners]) is None:
        raise UserError(
            f"actors: {_describe('actors', actors)} and {_describe('learners', learners)} do not fit on the nodes, "
            f"which are {describe_nodes(nodes)}; ask for fewer or smaller ones, or add nodes"
        )


def _spec(worker: type, source: str, dtype: str, actor: ActorConfig) -> ActorSpec:
    device = "cuda" if actor.gpus > 0 else "cpu"
    return ActorSpec(worker, (source, dtype, actor.cpus, device), actor.cpus, actor.gpus)


@contextmanager
def _pool(name: str, spec: ActorSpec, size: int, nodes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    names = create_pool(f"{name}-{uuid.uuid4().hex[:6]}", spec, size, nodes)
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
    return sum(pool.actors * int(pool.cpus) for pool in actor_pools(config).values()) + _CPUS_FOR_STAGES


def _resources_line() -> str:
    whole = ray.cluster_resources()
    return f"{whole.get('CPU', 0):g} logical CPUs, {whole.get('GPU', 0):g} GPUs"
