"""Named pools of long-lived actors: create them once, find them from anywhere, send work to the least busy one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.resident import Activity

NAMESPACE = "latentswarm"
_LEAST_WANTED = 1 << 30
_LOAD_TIMEOUT_S = 1.0
_CONTROL = "control"
_CALLS_PER_ACTOR = 8
"""Calls an actor takes in at once; it computes one and counts the others as its load."""


@dataclass(frozen=True)
class ActorSpec:
    """What every actor of a pool is.

    Attributes:
        worker: The class; its instances need a method `load() -> int`.
        arguments: Constructor arguments; small, since a restarted actor is built from them again.
        cpus: Logical CPUs and threads per actor.
        gpus: GPUs per actor; fractions share one.
    """

    worker: type
    arguments: tuple[Any, ...]
    cpus: int
    gpus: float


class ActorPool:
    """Handles of the actors of a pool."""

    def __init__(self, names: Sequence[str]) -> None:
        """Find actors by their names; works in every process of the cluster."""
        self._actors = [ray.get_actor(name, namespace=NAMESPACE) for name in names]

    def least_busy(self, preferred: int) -> ActorHandle[Any]:
        """Return the actor with the fewest requests, ties going to number `preferred` modulo the pool's size.

        An actor that does not answer in time (because it is being restarted) is left out; where none answers, the
        preferred one is returned and the call to it waits until it is back.
        """
        order = [(preferred + offset) % len(self._actors) for offset in range(len(self._actors))]
        if len(order) == 1:
            return self._actors[0]
        loads = dict(zip(order, _answers([self._actors[index].load for index in order]), strict=True))
        return self._actors[min(order, key=lambda index: _LEAST_WANTED if loads[index] is None else loads[index])]

    def activity(self) -> list[Activity | None]:
        """Return how busy each actor is; None for one that does not answer because it is starting or restarting."""
        return _answers([actor.activity for actor in self._actors])


def create_pool(prefix: str, spec: ActorSpec, size: int, nodes: Sequence[str] = ()) -> list[str]:
    """Start the actors of a pool; returns their names at once, while they are still loading.

    The actors live as long as the caller's process. A worker process or node that dies is replaced, and calls that
    were lost with it are repeated.

    Args:
        prefix: What their names begin with.
        spec: What each of them is.
        size: Their number.
        nodes: The node of each of them; where it is not given, Ray chooses. An actor whose node has died starts again
            wherever there is room.
    """
    names = [f"{prefix}-{index}" for index in range(size)]
    actor: Any = ray.remote(concurrency_groups={_CONTROL: 1})  # type: ignore[call-overload]
    for index, name in enumerate(names):
        where = NodeAffinitySchedulingStrategy(nodes[index], soft=True) if nodes else "DEFAULT"
        _handles[name] = (
            # `load` must be answered while other calls run or wait, hence a group of its own.
            actor(spec.worker)
            .options(
                name=name,
                namespace=NAMESPACE,
                num_cpus=spec.cpus,
                num_gpus=spec.gpus,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=_CALLS_PER_ACTOR,
                scheduling_strategy=where,
            )
            .remote(*spec.arguments)
        )
    return names


_handles: dict[str, ActorHandle[Any]] = {}
"""Owning handles: an actor that nobody holds is ended by Ray."""


def _answers(methods: Sequence[Any]) -> list[Any]:
    """Call a method of each of some actors, apart from what they compute; None where one does not answer in time."""
    asked = [method.options(concurrency_group=_CONTROL, max_task_retries=0).remote() for method in methods]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=_LOAD_TIMEOUT_S)
    found: dict[ray.ObjectRef[Any], Any] = {}
    for reference in answered:
        try:
            found[reference] = ray.get(reference)
        except ray.exceptions.RayActorError:
            continue
    return [found.get(reference) for reference in asked]


def stop_pool(names: Sequence[str]) -> None:
    """End the actors of a pool that this process has created."""
    for name in names:
        handle = _handles.pop(name, None)
        if handle is not None:
            ray.kill(handle, no_restart=True)
