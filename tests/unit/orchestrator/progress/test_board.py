"""What is counted; the board is the same object within Ray and without."""

from orchestrator.progress.board import ProgressBoard, Snapshot, TrialProgress


def test_the_board_adds_up_what_it_hears() -> None:
    board = ProgressBoard()
    assert board.snapshot() == Snapshot(0, 0, 0, ())
    board.begin("a")
    board.begin("b")
    board.advance(rows=8, correct=3, errors=1)
    board.advance(rows=4, correct=0, errors=0, unparsable=2, cut=1)
    assert board.snapshot() == Snapshot(12, 3, 1, ("a", "b"), unparsable=2, cut=1)
    board.end("a")
    board.end("a")
    assert board.snapshot() == Snapshot(12, 3, 1, ("b",), unparsable=2, cut=1)


def test_questions_are_open_until_their_rule_has_settled_them() -> None:
    board = ProgressBoard()
    assert board.snapshot().open is None
    board.begin("a", 10)
    board.begin("b", 4)
    board.settle("a", 8, 100)
    board.settle("a", 1, 5)
    assert (board.snapshot().open, board.snapshot().spared) == (5, 105)
    board.end("a")
    assert (board.snapshot().open, board.snapshot().spared) == (4, 105)
    board.end("b")
    assert board.snapshot().open is None


def test_a_snapshot_is_not_changed_by_what_comes_later() -> None:
    board = ProgressBoard()
    board.begin("a")
    before = board.snapshot()
    board.advance(rows=8, correct=3, errors=1)
    board.end("a")
    assert before == Snapshot(0, 0, 0, ("a",))


def test_trials_of_a_sweep() -> None:
    board = ProgressBoard()
    board.begin_trial("a")
    board.begin_trial("b")
    board.begin("a")
    board.report_trial("a", 4, 0.5)
    assert board.snapshot().trials == (TrialProgress("a", 4, 0.5), TrialProgress("b"))
    # A trial that a scheduler stops does not get to say that its setting is not sampled any more.
    board.end_trial("a")
    assert board.snapshot().running == ()
    assert board.snapshot().trials[0] == TrialProgress("a", 4, 0.5, ended=True)
    board.begin_trial("a")
    assert board.snapshot().trials[0] == TrialProgress("a", 4, 0.5)
