"""Calls go to the least busy actor, and few are asked to find it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from workers import pool
from workers.pool import ActorPool


class FakeActors:
    """Actors that hold calls until they are let go, and say how many other calls they have."""

    def __init__(self, elsewhere: list[int | None]) -> None:
        self.elsewhere = elsewhere
        self.calls: list[int] = []
        self.asked: list[list[int]] = []
        self.go_on = threading.Event()
        self.arrived = threading.Semaphore(0)

    def answers(self, methods: list[int]) -> list[int | None]:
        self.asked.append(methods)
        return [self.elsewhere[index] for index in methods]

    def get(self, index: int) -> int:
        self.calls.append(index)
        self.arrived.release()
        assert self.go_on.wait(30)
        return index


class FakeActor:
    def __init__(self, index: int) -> None:
        self.queue_depth = index
        self.work = self
        self.index = index

    def remote(self, request: Any) -> int:
        assert request == "request"
        return self.index


@pytest.fixture
def pool_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(elsewhere: list[int | None]) -> tuple[ActorPool, FakeActors]:
        actors = FakeActors(elsewhere)
        monkeypatch.setattr(pool.ray, "get_actor", lambda name, namespace: FakeActor(int(name)))
        monkeypatch.setattr(pool.ray, "get", actors.get)
        monkeypatch.setattr(pool, "_answers", actors.answers)
        return ActorPool([str(index) for index in range(len(elsewhere))]), actors

    return made


def call_once(pool: ActorPool, actors: FakeActors, preferred: int) -> int:
    actors.go_on.set()
    return int(pool.call("work", "request", preferred))


@pytest.mark.parametrize("preferred", [0, 2, 7])
def test_the_preferred_actor_gets_the_call_where_all_are_as_busy(pool_of: Any, preferred: int) -> None:
    made, actors = pool_of([1] * 5)
    assert call_once(made, actors, preferred) == preferred % 5


def test_an_actor_that_others_keep_busy_is_left_out(pool_of: Any) -> None:
    made, actors = pool_of([3, 1, 2, 3])
    assert call_once(made, actors, 0) == 1


def test_one_that_does_not_answer_is_left_out(pool_of: Any) -> None:
    made, actors = pool_of([None, 5, None, None])
    assert call_once(made, actors, 0) == 1


def test_where_none_answers_the_call_waits_for_the_preferred_one(pool_of: Any) -> None:
    made, actors = pool_of([None] * 4)
    assert call_once(made, actors, 2) == 2


def test_a_single_actor_is_not_asked(pool_of: Any) -> None:
    made, actors = pool_of([None])
    assert call_once(made, actors, 3) == 0
    assert actors.asked == []


@pytest.mark.parametrize("size", [2, 4, 100])
def test_few_are_asked_however_many_there_are(pool_of: Any, size: int) -> None:
    made, actors = pool_of([0] * size)
    call_once(made, actors, 1)
    [asked] = actors.asked
    assert len(set(asked)) == len(asked) == min(4, size)
    assert asked[0] == 1


@pytest.mark.parametrize("rounds", [1, 2])
def test_threads_that_call_at_the_same_moment_fill_all_actors_alike(pool_of: Any, rounds: int) -> None:
    made, actors = pool_of([0] * 8)
    with ThreadPoolExecutor(8 * rounds) as threads:
        # All of them prefer the same one.
        waiting = [threads.submit(made.call, "work", "request", 3) for _ in range(8 * rounds)]
        for _ in waiting:
            assert actors.arrived.acquire(timeout=30)
        assert sorted(actors.calls) == sorted(list(range(8)) * rounds)
        actors.go_on.set()
        assert sorted(one.result() for one in waiting) == sorted(list(range(8)) * rounds)
    # Calls that have ended do not count any more.
    assert call_once(made, actors, 6) == 6
