"""How busy actors are, made of what they have answered; real ones are asked in the integration tests."""

import pytest

from orchestrator.progress.utilization import PoolState, pool_state
from workers.model_actor import Activity


def test_the_share_of_busy_time_is_that_of_the_window() -> None:
    before = [Activity(1, 100.0), Activity(0, 7.0)]
    after = [Activity(3, 104.0), Activity(0, 7.0)]
    assert pool_state([(10.0, before), (12.0, [None, None]), (14.0, after)]) == PoolState(2, 2, 3, 0.5)


def test_actors_that_do_not_answer_count_as_idle() -> None:
    state = pool_state([(0.0, [Activity(1, 0.0), None]), (2.0, [Activity(1, 2.0), None])])
    assert state == PoolState(actors=2, answering=1, requests=1, busy=0.5)
    assert state.waiting == 0


def test_a_restarted_actor_has_no_negative_time() -> None:
    state = pool_state([(0.0, [Activity(1, 50.0)]), (2.0, [Activity(4, 1.0)])])
    assert state.busy == 0.0
    assert state.waiting == 3


def test_one_answer_says_nothing_about_time() -> None:
    assert pool_state([(0.0, [Activity(2, 50.0)])]).busy == pytest.approx(0.0)
