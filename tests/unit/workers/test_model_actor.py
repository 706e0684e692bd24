"""Requests are computed one at a time, and an actor knows how busy it is."""

import threading
import time

import pytest

from workers.model_actor import ModelActor


class Sleeper(ModelActor):
    def sleep(self, seconds: float, fail: bool = False) -> float:
        with self._exclusive_section():
            time.sleep(seconds)
            if fail:
                raise ValueError("as asked")
            return time.monotonic()


def test_one_at_a_time() -> None:
    worker = Sleeper()
    ends: list[float] = []
    threads = [threading.Thread(target=lambda: ends.append(worker.sleep(0.1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert worker.queue_depth() == worker.activity().requests == 3
    assert 0.0 < worker.activity().busy_seconds < 0.3
    for thread in threads:
        thread.join()
    assert ends[-1] - ends[0] >= 0.19
    assert worker.queue_depth() == 0
    assert worker.activity().busy_seconds == pytest.approx(0.3, abs=0.15)


def test_a_failure_ends_the_exclusive_section() -> None:
    worker = Sleeper()
    with pytest.raises(ValueError, match="as asked"):
        worker.sleep(0.0, fail=True)
    before = worker.activity()
    time.sleep(0.05)
    assert worker.activity() == before
    assert before.requests == 0
