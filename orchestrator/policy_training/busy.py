"""Busy shares: for how much of a time the learner learnt, actors computed, and nobody did either."""

from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A time from a beginning to an end, in seconds since the epoch."""

    began: float
    ended: float


def busy_shares(
    whole: Interval, learning: Sequence[Interval], computing: Sequence[Interval], actors: int
) -> dict[str, float]:
    """Return the shares of a time, each from 0 to 1.

    Args:
        whole: The time.
        learning: When the learner computed.
        computing: When actors computed, of all actors together.
        actors: Their number.

    Returns:
        `busy/learner`; `busy/actors`, the mean over actors; `busy/neither`, the share in which neither computed.
    """
    seconds = max(whole.ended - whole.began, 1e-9)
    inside = [[_clipped(one, whole) for one in some] for some in (learning, computing)]
    learner, each = (sum(one.ended - one.began for one in some) for some in inside)
    return {
        "busy/learner": learner / seconds,
        "busy/actors": each / actors / seconds,
        "busy/neither": 1.0 - _covered([*inside[0], *inside[1]]) / seconds,
    }


def _clipped(one: Interval, whole: Interval) -> Interval:
    began = min(max(one.began, whole.began), whole.ended)
    return Interval(began, max(began, min(one.ended, whole.ended)))


def _covered(intervals: Sequence[Interval]) -> float:
    """Return the length of the union of intervals."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
