"""The order of questions: a permutation for each epoch, begun at any update and shared by workers."""

import itertools
from typing import Any

import pytest

from orchestrator.reward_training.order import QuestionOrder

FILES = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1"], "c": ["c0", "c1", "c2", "c3"], "d": ["d0"]}


def flat(windows: Any) -> list[tuple[str, str]]:
    return [address for window in windows for address in window]


def test_an_epoch_is_every_question_once_in_an_order_of_its_own() -> None:
    order = QuestionOrder(FILES, seed=0, window=4, per_batch=3)
    everything = sorted((file, question) for file, ids in FILES.items() for question in ids)
    epochs = [flat(order.epoch(number)) for number in range(4)]
    assert all(sorted(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert flat(order.epoch(2)) == epochs[2]
    assert flat(QuestionOrder(FILES, seed=1, window=4, per_batch=3).epoch(0)) != epochs[0]
    assert all(len(window) >= 4 for window in list(order.epoch(0))[:-1])


@pytest.mark.parametrize("first", [0, 1, 3, 4, 7])
def test_reading_can_begin_at_any_update(first: int) -> None:
    order = QuestionOrder(FILES, seed=0, window=4, per_batch=3)
    used = [address for number in range(4) for address in flat(order.epoch(number))[:9]]
    assert flat(order.windows(first, 10, 0, 1)) == used[first * 3 : 30]


def test_workers_share_every_batch() -> None:
    order = QuestionOrder(FILES, seed=0, window=4, per_batch=4)
    whole = flat(order.windows(1, 7, 0, 1))
    shares = [flat(order.windows(1, 7, rank, 2)) for rank in range(2)]
    joined = [
        address
        for first in range(0, len(shares[0]), 2)
        for address in itertools.chain(shares[0][first : first + 2], shares[1][first : first + 2])
    ]
    assert joined == whole
