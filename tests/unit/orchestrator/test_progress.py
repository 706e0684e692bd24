"""What is counted and what is said about it; the display itself is tested with Ray."""

import pytest

from orchestrator.progress import ProgressBoard, RateMeter, Snapshot, describe_progress, make_console


def test_the_board_adds_up_what_it_hears() -> None:
    board = ProgressBoard()
    assert board.snapshot() == Snapshot(0, 0, 0, ())
    board.begin("a")
    board.begin("b")
    board.advance(rows=8, correct=3, errors=1)
    board.advance(rows=4, correct=0, errors=0)
    assert board.snapshot() == Snapshot(12, 3, 1, ("a", "b"))
    board.end("a")
    board.end("a")
    assert board.snapshot() == Snapshot(12, 3, 1, ("b",))


def test_a_snapshot_is_not_changed_by_what_comes_later() -> None:
    board = ProgressBoard()
    board.begin("a")
    before = board.snapshot()
    board.advance(rows=8, correct=3, errors=1)
    board.end("a")
    assert before == Snapshot(0, 0, 0, ("a",))


@pytest.mark.parametrize(
    ("snapshot", "rate", "text"),
    [
        (Snapshot(0, 0, 0, ()), 0.0, "0 rows/s, ETA unknown, waiting for the actors"),
        (Snapshot(0, 0, 0, ("a",)), 0.0, "0 rows/s, ETA unknown, a"),
        (Snapshot(100, 50, 0, ("a", "b")), 10.0, "10 rows/s, ETA 90 s, a | b"),
        (Snapshot(100, 50, 3, ("a",)), 10.0, "10 rows/s, ETA 90 s, 3 failed, a"),
        (Snapshot(1000, 50, 0, ("a",)), 1234.5, "1,234 rows/s, ETA 0 s, a"),
        (Snapshot(1001, 50, 0, ("a",)), 10.0, "10 rows/s, ETA 0 s, a"),
    ],
)
def test_progress_in_words(snapshot: Snapshot, rate: float, text: str) -> None:
    assert describe_progress(snapshot, 1000, rate) == text


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


def test_people_are_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("words")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "words\n")
