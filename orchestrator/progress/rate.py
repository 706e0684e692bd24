"""Throughput meter: rows per second over a sliding window."""

from collections import deque

_WINDOW_S = 20.0


class RateMeter:
    """Sliding-window rate: what was done minutes ago says little about what is left."""

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        """Look back that many seconds."""
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()
        self._last_change: float | None = None
        self._started = False

    def add(self, clock: float, done: int) -> None:
        """Note how many rows are done at a time in seconds."""
        changed = not self._seen or self._seen[-1][1] != done
        if changed:
            self._last_change = clock
        if not self._started:
            # Actors load for as long as a small run takes; the rate is that of the time after their first rows.
            self._started = changed and bool(self._seen)
            self._seen.clear()
        self._seen.append((clock, done))
        while len(self._seen) > 2 and self._seen[1][0] <= clock - self._window_s:
            self._seen.popleft()

    def begin_anew(self) -> None:
        """Forget what was done so far: from here on rows are of another kind, and come at another rate."""
        self._seen.clear()
        self._started = False

    def rate(self) -> float:
        """Rows per second within the window; 0 where nothing is known."""
        if len(self._seen) < 2:
            return 0.0
        (first_clock, first_done), (last_clock, last_done) = self._seen[0], self._seen[-1]
        return (last_done - first_done) / max(last_clock - first_clock, 1e-9)

    def idle_for(self, clock: float) -> float:
        """Seconds since the number of rows changed."""
        return 0.0 if self._last_change is None else clock - self._last_change

    def forgive(self, clock: float) -> None:
        """Count idle seconds from here on."""
        self._last_change = clock
