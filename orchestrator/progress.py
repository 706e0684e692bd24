"""What is going on: a board that every process reports to, and a display in the driver."""

import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_POLL_S = 0.5
_LINE_EVERY_S = 10.0
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
    """Start a board beside the driver; it costs no logical CPU."""
    actor: Any = ray.remote(ProgressBoard)
    handle: ActorHandle[Any] = actor.options(num_cpus=0).remote()
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
        started = time.monotonic()
        first_row_at = last_change = last_line = started
        last: Snapshot | None = None
        with self._bar() as bar:
            task = bar.add_task("sampling", total=self._total, detail="waiting for the actors")
            while True:
                stopping = self._stop.wait(_POLL_S)
                try:
                    now = self._snapshot()
                except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
                    # The run itself reports what is wrong with the cluster; here there is just nothing to show.
                    return
                clock = time.monotonic()
                if last is None or now.done != last.done:
                    if last is None or last.done == 0:
                        first_row_at = clock
                    last_change = clock
                last = now
                detail = describe_progress(now, self._total, clock - first_row_at)
                bar.update(task, completed=now.done, detail=detail)
                changed_line = clock - last_line >= _LINE_EVERY_S or (stopping and now.done)
                if not self._console.is_terminal and changed_line:
                    last_line = clock
                    self._console.print(f"[{clock - started:6.1f} s] {now.done}/{self._total} trajectories, {detail}")
                if clock - last_change >= _STALL_AFTER_S and now.done < self._total:
                    last_change = clock
                    self._console.print(describe_stall(now, _STALL_AFTER_S))
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


def describe_progress(snapshot: Snapshot, total: int, seconds: float) -> str:
    """Return "rate, time left, what runs" for a person."""
    if snapshot.done == 0:
        return "waiting for the actors"
    rate = snapshot.done / max(seconds, _POLL_S)
    parts = [f"{rate:,.0f} rows/s", f"ETA {max(total - snapshot.done, 0) / rate:.0f} s"]
    if snapshot.errors:
        parts.append(f"{snapshot.errors} failed")
    parts.extend(snapshot.running)
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
