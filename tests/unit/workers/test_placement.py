"""Which node holds which actor."""

from collections import Counter
from typing import Any

import pytest

from workers.placement import NodeSize, PoolSize, alive_nodes, describe_nodes, place, pool_capacity


def nodes(*sizes: tuple[float, float]) -> list[NodeSize]:
    return [NodeSize(f"node-{number}", cpus, gpus) for number, (cpus, gpus) in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "pool", "room"),
    [
        ([(4, 0)], PoolSize(4, 1, 0), 4),
        ([(3, 0), (3, 0)], PoolSize(3, 2, 0), 2),
        # Two GPUs on two nodes are not two GPUs on one.
        ([(8, 1), (8, 1)], PoolSize(1, 1, 2), 0),
        ([(8, 2), (8, 1)], PoolSize(2, 1, 2), 1),
        # A fraction is one of a single device.
        ([(8, 2)], PoolSize(3, 1, 0.6), 2),
        ([(8, 1)], PoolSize(3, 1, 1 / 3), 3),
        ([(8, 2)], PoolSize(8, 1, 0.25), 8),
        ([(16, 1)], PoolSize(20, 1, 0.1), 10),
        # GPUs are of no use where CPUs are missing.
        ([(1, 8)], PoolSize(2, 2, 1), 0),
        ([(8, 8), (8, 8)], PoolSize(8, 1, 1, per_node=3), 6),
        ([], PoolSize(1, 1, 0), 0),
    ],
)
def test_room_is_counted_node_by_node(sizes: list[tuple[float, float]], pool: PoolSize, room: int) -> None:
    assert pool_capacity(nodes(*sizes), pool) == room


def test_a_pool_with_a_limit_is_spread() -> None:
    placed = place(nodes((8, 0), (8, 0), (8, 0)), [PoolSize(4, 1, 0, per_node=2)])
    assert placed is not None
    assert sorted(Counter(placed[0]).values()) == [1, 1, 2]


def test_scorers_without_a_gpu_leave_gpu_nodes_to_reasoners() -> None:
    reasoners, scorers = PoolSize(4, 2, 1, per_node=2), PoolSize(4, 2, 0)
    placed = place(nodes((4, 2), (4, 2), (8, 0)), [reasoners, scorers])
    assert placed == [["node-0", "node-1", "node-0", "node-1"], ["node-2"] * 4]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_small_ones_do_not_take_the_only_place_of_a_large_one(swapped: bool) -> None:
    pools = [PoolSize(2, 1, 0.5), PoolSize(1, 1, 2)]
    placed = place(nodes((8, 2), (8, 1)), pools[::-1] if swapped else pools)
    assert placed is not None
    assert (placed[::-1] if swapped else placed) == [["node-1", "node-1"], ["node-0"]]


def test_pools_that_fit_only_one_at_a_time() -> None:
    assert place(nodes((4, 1), (4, 1)), [PoolSize(2, 1, 0.6), PoolSize(2, 1, 0.6)]) is None


def test_what_ray_says_about_nodes() -> None:
    said: list[dict[str, Any]] = [
        {"NodeID": "b", "Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 1.0}},
        {"NodeID": "c", "Alive": False, "Resources": {"CPU": 8.0}},
        {"NodeID": "a", "Alive": True, "Resources": {"memory": 1.0}},
    ]
    assert alive_nodes(said) == [NodeSize("a", 0, 0), NodeSize("b", 8, 2)]
    assert describe_nodes(nodes((8, 1), (4, 0), (8, 1))) == "1 x (4 CPUs, 0 GPUs), 2 x (8 CPUs, 1 GPUs)"
