"""What is said about the progress of a run."""

import io

import pytest
from rich.console import Console

from orchestrator.progress.board import Snapshot, TrialProgress
from orchestrator.progress.text import describe_progress, describe_stall, trials_table
from orchestrator.progress.utilization import PoolState

A, B = TrialProgress("a", 4, 0.5), TrialProgress("b", 8, 0.25, ended=True)


@pytest.mark.parametrize(
    ("snapshot", "rate", "text"),
    [
        (Snapshot(0, 0, 0, ()), 0.0, "0 rows/s, ETA unknown, waiting for the actors"),
        (Snapshot(0, 0, 0, ("a",)), 0.0, "0 rows/s, ETA unknown, a"),
        (Snapshot(100, 50, 0, ("a", "b")), 10.0, "10 rows/s, ETA 90 s, a | b"),
        (Snapshot(100, 50, 3, ("a",)), 10.0, "10 rows/s, ETA 90 s, 3 failed, a"),
        (Snapshot(8, 5, 0, ("greedy",)), 0.05, "0 rows/s, ETA unknown, greedy"),
        (
            Snapshot(100, 50, 3, ("a",), unparsable=1700, cut=86),
            10.0,
            "10 rows/s, ETA 90 s, 3 failed, 1,700 unparsable, 86 cut, a",
        ),
        (Snapshot(100, 50, 0, ("a",), open=1200), 10.0, "10 rows/s, ETA 90 s, 1,200 questions open, a"),
        (Snapshot(1000, 50, 0, ("a",)), 1234.5, "1,234 rows/s, ETA 0 s, a"),
        (Snapshot(1001, 50, 0, ("a",)), 10.0, "10 rows/s, ETA 0 s, a"),
    ],
)
def test_progress_in_words(snapshot: Snapshot, rate: float, text: str) -> None:
    assert describe_progress(snapshot, 1000, rate) == text


def test_a_sweep_in_words() -> None:
    snapshot = Snapshot(100, 50, 0, ("a",), (A, B))
    pools = {"reasoners": PoolState(2, 2, 3, 0.934)}
    # Trials that have come further are compared first: values at different budgets say nothing.
    assert describe_progress(snapshot, 1000, 10.0, pools) == (
        "10 rows/s, ETA 90 s, reasoners 93 % busy, 1 of 2 trials ended, best at N=8: 0.25 (b), a"
    )
    assert describe_progress(snapshot, 1000, 10.0, pools, with_trials=False) == (
        "10 rows/s, ETA 90 s, reasoners 93 % busy"
    )
    same = Snapshot(0, 0, 0, (), (A, TrialProgress("c", 4, 0.2)))
    assert "best at N=4: 0.2 (c)" in describe_progress(same, 1, 0.0, mode="min")


def printed(snapshot: Snapshot) -> str:
    text = io.StringIO()
    Console(file=text, width=100).print(trials_table(snapshot, "best_of_n"))
    return text.getvalue()


def test_the_table_of_trials() -> None:
    lines = printed(Snapshot(0, 0, 0, ("a",), (A, B, TrialProgress("c")))).splitlines()
    assert lines[0].split() == ["trial", "N", "reached", "best_of_n"]
    assert [line.split() for line in lines[1:4]] == [
        ["b", "8", "0.25", "ended", "*"],
        ["a", "4", "0.5", "running"],
        ["c", "running"],
    ]


def test_the_table_stays_small() -> None:
    many = tuple(TrialProgress(f"t{number}", 1, 0.1, ended=True) for number in range(50))
    lines = printed(Snapshot(0, 0, 0, (), (*many, A))).splitlines()
    assert len(lines) == 14
    assert "and 39 that ended earlier" in lines[-1]
    assert "t49" in lines[-3]


FREE, WHOLE = {"CPU": 2.0}, {"CPU": 4.0, "memory": 1.0}


@pytest.mark.parametrize(
    ("pools", "free", "message"),
    [
        (
            {"reasoners": PoolState(2, 1, 0, 0.0)},
            FREE,
            "generation waits for 1 of 2 reasoners that are starting, restarting, or have no node; free: 2 of 4 CPU",
        ),
        (
            {"reasoners": PoolState(1, 1, 3, 1.0), "scorers": PoolState(1, 1, 0, 0.0)},
            FREE,
            "generation waits for reasoners that compute (3 requests, 2 of them wait); free",
        ),
        ({"reasoners": PoolState(1, 1, 0, 0.0), "scorers": PoolState(2, 2, 1, 1.0)}, FREE, "scoring waits for scorers"),
        ({"reasoners": PoolState(1, 1, 0, 0.0)}, {"CPU": 0.0}, "tasks wait for CPUs, which others hold; free: 0 of 4"),
        ({"reasoners": PoolState(1, 1, 0, 0.0)}, FREE, "tasks wait for the store, or for processes to start"),
    ],
)
def test_a_stall_names_the_stage_and_what_it_waits_for(
    pools: dict[str, PoolState], free: dict[str, float], message: str
) -> None:
    said = describe_stall(Snapshot(5, 0, 0, ("a", "b")), 120.0, pools, free, WHOLE)
    assert said.startswith("nothing has finished for 120 s while sampling a, b: ")
    assert message in said
