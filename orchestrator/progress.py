"""What is going on: a board that every process reports to, and a display in the driver."""

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_POLL_S = 0.5
_LINE_EVERY_S = 10.0
_RATE_WINDOW_S = 20.0
_STALL_AFTER_S = 120.0


@dataclass(frozen=True)
class Snapshot:
    """State of the board.

    Attributes:
        done: Trajectories finished since the start.
        correct: How many of them are right.
        errors: How many of them failed.
        running: Names of settings that are being sampled.
    """

    done: int
    correct: int
    errors: int
    running: tuple[str, ...]


class ProgressBoard:
    """Counters that pipelines in any process add to; runs as a Ray actor."""

    def __init__(self) -> None:
        """Start at zero."""
        self._done = self._correct = self._errors = 0
        self._running: dict[str, None] = {}

    def begin(self, setting: str) -> None:
        """Say that a setting is being sampled."""
        self._running[setting] = None

    def end(self, setting: str) -> None:
        """Say that a setting is not being sampled any more."""
        self._running.pop(setting, None)

    def advance(self, rows: int, correct: int, errors: int) -> None:
        """Add finished trajectories."""
        self._done += rows
        self._correct += correct
        self._errors += errors

    def snapshot(self) -> Snapshot:
        """Return the current counts."""
        return Snapshot(self._done, self._correct, self._errors, tuple(self._running))


def create_board() -> ActorHandle[Any]:
    """Start a board beside the driver, so that no other node takes it along when it dies; it costs no logical CPU."""
    actor: Any = ray.remote(ProgressBoard)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    handle: ActorHandle[Any] = actor.options(num_cpus=0, scheduling_strategy=here).remote()
    return handle


class ProgressDisplay:
    """Shows rows done, rows per second and the time left, and says so when nothing moves.

    On a terminal this is one live bar, elsewhere a plain line every few seconds.
    """

    def __init__(self, board: ActorHandle[Any], total: int, console: Console) -> None:
        """Watch a board; `total` is the number of trajectories that are to be sampled."""
        self._board = board
        self._total = total
        self._console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProgressDisplay":
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        started = last_line = time.monotonic()
        meter = RateMeter()
        with self._bar() as bar:
            task = bar.add_task("sampling", total=self._total, detail="")
            while True:
                stopping = self._stop.wait(_POLL_S)
                try:
                    now = self._snapshot()
                except ray.exceptions.GetTimeoutError:
                    # A busy machine answers late; there will be something to show the next time.
                    if stopping:
                        return
                    continue
                except ray.exceptions.RayError:
                    # The run itself reports what is wrong with the cluster.
                    return
                clock = time.monotonic()
                meter.add(clock, now.done)
                detail = describe_progress(now, self._total, meter.rate())
                bar.update(task, completed=now.done, detail=detail)
                if not self._console.is_terminal and (stopping or clock - last_line >= _LINE_EVERY_S):
                    last_line = clock
                    line = f"[{clock - started:6.1f} s] {now.done:,}/{self._total:,} trajectories, {detail}"
                    self._console.print(line, soft_wrap=True, highlight=False, markup=False)
                if meter.idle_for(clock) >= _STALL_AFTER_S and now.done < self._total:
                    meter.forgive(clock)
                    self._console.print(describe_stall(now, _STALL_AFTER_S), soft_wrap=True)
                if stopping:
                    return

    def _snapshot(self) -> Snapshot:
        reply: Any = self._board.snapshot.remote()
        state: Snapshot = ray.get(reply, timeout=5)
        return state

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )


class RateMeter:
    """Rate over the recent past: what was done minutes ago says little about what is left."""

    def __init__(self, window_s: float = _RATE_WINDOW_S) -> None:
        """Look back that many seconds."""
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()
        self._last_change: float | None = None

    def add(self, clock: float, done: int) -> None:
        """Note how many rows are done at a time in seconds."""
        if not self._seen or self._seen[-1][1] != done:
            self._last_change = clock
        self._seen.append((clock, done))
        while len(self._seen) > 2 and self._seen[1][0] <= clock - self._window_s:
            self._seen.popleft()

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


def describe_progress(snapshot: Snapshot, total: int, rate: float) -> str:
    """Return "rate, time left, failures, what runs" for a person; the rate is in rows per second."""
    left = max(total - snapshot.done, 0)
    parts = [f"{rate:,.0f} rows/s", f"ETA {left / rate:,.0f} s" if rate > 0 else "ETA unknown"]
    if snapshot.errors:
        parts.append(f"{snapshot.errors} failed")
    if snapshot.running:
        parts.append(" | ".join(snapshot.running))
    elif snapshot.done == 0:
        parts.append("waiting for the actors")
    return ", ".join(parts)


def describe_stall(snapshot: Snapshot, seconds: float) -> str:
    """Return one line about what waits for what when nothing has finished for a while."""
    free, whole = ray.available_resources(), ray.cluster_resources()
    resources = ", ".join(
        f"{free.get(name, 0):g} of {whole[name]:g} {name}" for name in ("CPU", "GPU") if name in whole
    )
    waiting = ", ".join(snapshot.running) or "no setting"
    return f"nothing has finished for {seconds:.0f} s: sampling {waiting}; free on the cluster: {resources}"


def make_console() -> Console:
    """Return the console for people, on standard error, so that standard output holds results only."""
    return Console(file=sys.stderr)
