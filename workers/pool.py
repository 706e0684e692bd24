"""Actor pools, named and long-lived: create them once, find them from anywhere, send work to the least busy one."""

import json
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.model_actor import Activity

NAMESPACE = "latentswarm"
_LEAST_WANTED = 1 << 30
_DEPTH_TIMEOUT_S = 1.0
_FACTS_TIMEOUT_S = 10.0
_CONTROL = "control"
_OTHERS_ASKED = 3
"""Actors that are asked how busy they are beside the first choice."""
_CALLS_PER_ACTOR = 8
"""Calls an actor takes in at once; it computes one and counts the others as its queue depth."""


@dataclass(frozen=True)
class ActorSpec:
    """What every actor of a pool is.

    Attributes:
        worker: The class; its instances need a method `queue_depth() -> int`.
        arguments: Constructor arguments; small, since a restarted actor is built from them again.
        cpus: Logical CPUs and threads per actor.
        gpus: GPUs per actor; fractions share one.
    """

    worker: type
    arguments: tuple[Any, ...]
    cpus: int
    gpus: float


class ActorPool:
    """Handles of the actors of a pool, and how many calls this process has sent to each; for several threads."""

    def __init__(self, names: Sequence[str]) -> None:
        """Find actors by their names; works in every process of the cluster."""
        self._actors = [ray.get_actor(name, namespace=NAMESPACE) for name in names]
        self._calls = [0] * len(self._actors)
        self._lock = threading.Lock()

    def call(self, method: str, request: Any, preferred: int) -> Any:
        """Let the least busy actor compute something, and wait for it.

        Args:
            method: Name of the actor's method.
            request: Its argument.
            preferred: Number of the actor, modulo the pool's size, that gets the call where others are as busy.

        Returns:
            What the method returns.
        """
        index = self._choose(preferred)
        try:
            return ray.get(getattr(self._actors[index], method).remote(request))
        finally:
            with self._lock:
                self._calls[index] -= 1

    def _choose(self, preferred: int) -> int:
        """Choose an actor and count the call.

        Of those with the fewest calls from this process a few are asked how busy they are, because other processes
        send calls too. Asking a few keeps the number of messages the same however large the pool is ("the power of
        two choices", Mitzenmacher 2001). An actor that does not answer in time (because it is being restarted) is left
        out; where none answers, the call waits until the first one is back.
        """
        with self._lock:
            size, fewest = len(self._actors), min(self._calls)
            idle = [one % size for one in range(preferred, preferred + size) if self._calls[one % size] == fewest]
            first, *others = idle[0], *random.sample(idle[1:], min(_OTHERS_ASKED, len(idle) - 1))
            # Counted before anybody is asked: threads that choose at the same moment must not choose the same.
            self._calls[first] += 1
        if not others:
            return first
        depths = _answers([self._actors[index].queue_depth for index in (first, *others)])
        with self._lock:
            chosen, fewest = first, self._busyness(depths[0], self._calls[first] - 1)
            for index, depth in zip(others, depths[1:], strict=True):
                busyness = self._busyness(depth, self._calls[index])
                if busyness < fewest:
                    chosen, fewest = index, busyness
            self._calls[first] -= 1
            self._calls[chosen] += 1
        return chosen

    @staticmethod
    def _busyness(depth: int | None, calls: int) -> int:
        return _LEAST_WANTED if depth is None else max(depth, calls)

    def activity(self) -> list[Activity | None]:
        """Return how busy each actor is; None for one that does not answer because it is starting or restarting."""
        return _answers([actor.activity for actor in self._actors])

    def prompts(self) -> tuple[int, int]:
        """Return how many prompts the reasoners had to read and how many they had kept, since they were started.

        An actor that does not answer, because it is being restarted, is left out.
        """
        answers = [one for one in _answers([actor.prompts for actor in self._actors], _FACTS_TIMEOUT_S) if one]
        return sum(read for read, _ in answers), sum(kept for _, kept in answers)

    def row_invariance(self) -> list[dict[str, Any]]:
        """Return how the actors keep rows apart to the bit, each way once; those on GPUs promise nothing.

        An actor that does not answer, because it is being restarted, is left out.
        """
        answers = _answers([actor.row_invariance for actor in self._actors], _FACTS_TIMEOUT_S)
        distinct = {json.dumps(one, sort_keys=True): one for one in answers if one is not None}
        return [distinct[text] for text in sorted(distinct)]


@lru_cache(maxsize=8)
def actor_pool(names: tuple[str, ...]) -> ActorPool:
    """Return the pool of these actors, found once per process: names are never used twice."""
    return ActorPool(names)


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
            # `queue_depth` must be answered while other calls run or wait, hence a group of its own.
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


def _answers(methods: Sequence[Any], timeout: float = _DEPTH_TIMEOUT_S) -> list[Any]:
    """Call a method of each of some actors, apart from what they compute; None where one does not answer in time."""
    asked = [method.options(concurrency_group=_CONTROL, max_task_retries=0).remote() for method in methods]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=timeout)
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
