"""The rate of the recent past."""

import pytest

from orchestrator.progress.rate import RateMeter


def test_the_rate_is_that_of_the_recent_past() -> None:
    meter = RateMeter(window_s=10.0)
    assert meter.rate() == 0.0
    meter.add(0.0, 0)
    assert meter.rate() == 0.0
    for second in range(1, 101):
        # Ten rows a second at first, later a hundred.
        meter.add(float(second), second * 10 if second <= 50 else 500 + (second - 50) * 100)
        if second == 50:
            assert meter.rate() == pytest.approx(10.0)
    assert meter.rate() == pytest.approx(100.0)


def test_the_rate_falls_where_nothing_moves() -> None:
    meter = RateMeter(window_s=10.0)
    for second in range(30):
        meter.add(float(second), 100)
    assert meter.rate() == 0.0


def test_idle_is_the_time_since_the_last_row() -> None:
    meter = RateMeter()
    assert meter.idle_for(5.0) == 0.0
    meter.add(5.0, 0)
    meter.add(50.0, 0)
    assert meter.idle_for(60.0) == 55.0
    meter.add(70.0, 3)
    meter.add(80.0, 3)
    assert meter.idle_for(90.0) == 20.0
    meter.forgive(90.0)
    assert meter.idle_for(95.0) == 5.0


def test_the_time_in_which_actors_load_is_no_part_of_the_rate() -> None:
    meter = RateMeter(window_s=20.0)
    for second in range(60):
        meter.add(float(second), 0)
    meter.add(60.0, 8)
    # One batch says nothing: how long it took is not known.
    assert meter.rate() == 0.0
    meter.add(61.0, 108)
    assert meter.rate() == pytest.approx(100.0)


def test_rows_of_another_kind_have_a_rate_of_their_own() -> None:
    meter = RateMeter()
    # Greedy decoding: 15 rows a second. What follows does 2,000, the first of them after three seconds.
    for second in range(20):
        meter.add(second, 15 * second)
    assert meter.rate() == 15.0
    meter.begin_anew()
    for second, done in ((20, 300), (21, 300), (22, 300), (23, 2300)):
        meter.add(second, done)
        assert meter.rate() == 0.0
    meter.add(24, 4300)
    assert meter.rate() == 2000.0
    assert meter.idle_for(24) == 0.0
