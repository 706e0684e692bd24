"""Placement of actors on nodes: arithmetic on plain numbers, so that it can be asked before anything is started."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any

_PARTS = 10_000
"""Parts of a GPU that are told apart, as Ray does; whole numbers add up exactly."""


@dataclass(frozen=True)
class NodeSize:
    """What a node of the cluster has.

    Attributes:
        node_id: Ray's name of it.
        cpus: Logical CPUs.
        gpus: GPUs.
    """

    node_id: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class PoolSize:
    """What a pool of equal actors needs.

    Attributes:
        actors: Number of actors.
        cpus: Logical CPUs of one actor.
        gpus: GPUs of one actor; a fraction is a fraction of one device.
        per_node: At most so many of them on one node.
    """

    actors: int
    cpus: float
    gpus: float
    per_node: int | None = None


@dataclass
class NodeCapacity:
    """What is left of a node while actors are put on it."""

    node: NodeSize
    cpus: float = field(init=False)
    devices: list[int] = field(init=False)
    held: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cpus = self.node.cpus
        self.devices = [_PARTS] * int(self.node.gpus)

    def take(self, pool: int, size: PoolSize) -> bool:
        """Put an actor of a pool here; says whether it fits."""
        if self.cpus < size.cpus or (size.per_node is not None and self.held.get(pool, 0) >= size.per_node):
            return False
        parts = round(size.gpus * _PARTS)
        needed = [parts] if parts <= _PARTS else [_PARTS] * (parts // _PARTS)
        left = sorted(self.devices)
        for amount in needed if parts else ():
            # The fullest device that has enough left: whole ones stay whole for as long as possible.
            device = next((number for number, free in enumerate(left) if free >= amount), None)
            if device is None:
                return False
            left[device] -= amount
        self.devices = left
        self.cpus -= size.cpus
        self.held[pool] = self.held.get(pool, 0) + 1
        return True


def alive_nodes(nodes: Sequence[Mapping[str, Any]]) -> list[NodeSize]:
    """Return the sizes of the nodes that are alive, from what `ray.nodes()` says."""
    sizes = [
        NodeSize(node["NodeID"], node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in nodes
        if node["Alive"]
    ]
    return sorted(sizes, key=lambda size: size.node_id)


def pool_capacity(nodes: Sequence[NodeSize], pool: PoolSize) -> int:
    """Return how many actors of a pool an otherwise empty cluster holds, `pool.actors` at most."""
    count = 0
    for node in nodes:
        capacity = NodeCapacity(node)
        while count < pool.actors and capacity.take(0, pool):
            count += 1
    return count


def place(nodes: Sequence[NodeSize], pools: Sequence[PoolSize]) -> list[list[str]] | None:
    """Return the node of every actor, pool by pool, or None where no place is found for all of them.

    The pools share the nodes, so one that leaves a choice must not take what another one cannot do without. A few
    ways are tried: any order of the pools, and nodes with the least or the most room first.
    """
    for order, fullest_first in product(permutations(range(len(pools))), (True, False)):
        capacities = [NodeCapacity(node) for node in nodes]
        placed = {number: _place_pool(capacities, number, pools[number], fullest_first) for number in order}
        if all(len(placed[number]) == pool.actors for number, pool in enumerate(pools)):
            return [placed[number] for number in range(len(pools))]
    return None


def _place_pool(capacities: Sequence[NodeCapacity], number: int, pool: PoolSize, fullest_first: bool) -> list[str]:
    sign = 1 if fullest_first else -1
    names: list[str] = []
    for _ in range(pool.actors):
        # Nodes with few actors of this pool come first, so that they are spread; GPU nodes last for those without.
        order = sorted(
            capacities,
            key=lambda capacity: (
                capacity.held.get(number, 0) if pool.per_node is not None else 0,
                sign * sum(capacity.devices),
                sign * capacity.cpus,
                capacity.node.node_id,
            ),
        )
        capacity = next((capacity for capacity in order if capacity.take(number, pool)), None)
        if capacity is None:
            break
        names.append(capacity.node.node_id)
    return names


def describe_nodes(nodes: Sequence[NodeSize]) -> str:
    """Return the nodes for a person, those of one size together: "2 x (8 CPUs, 1 GPUs)"."""
    sizes = Counter((node.cpus, node.gpus) for node in nodes)
    return ", ".join(f"{count} x ({cpus:g} CPUs, {gpus:g} GPUs)" for (cpus, gpus), count in sorted(sizes.items()))
