"""How many processes wait for how many calls."""

import pytest

from orchestrator.calls import calls_at_once


@pytest.mark.parametrize(
    ("actors", "shards", "expected"),
    [(8, 100, (1, 16)), (9, 100, (2, 9)), (32, 1000, (4, 16)), (1000, 10**6, (125, 16)), (1000, 5, (1, 5))],
)
def test_dispatchers_share_two_calls_per_actor(actors: int, shards: int, expected: tuple[int, int]) -> None:
    dispatchers, each = calls_at_once(actors, shards)
    assert (dispatchers, each) == expected
    assert dispatchers * each >= min(2 * actors, shards)
    assert each <= 16
