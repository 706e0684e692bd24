"""Outbox sender: a thread that sends the journal to MLflow. Whatever MLflow does, the experiment goes on.

What MLflow refuses, and what a missing file or a place of artifacts that cannot be reached holds back, is set aside
with its reason, and everything else passes it. The same command tries what is aside again. Artifacts come last: their
place may be another one than MLflow's, and no end of a run has to wait for it.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.console import masked
from orchestrator.tracking.state import SendState

if TYPE_CHECKING:
    from orchestrator.tracking.journal import Journal
    from orchestrator.tracking.writer import MlflowWriter

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST", "PERMISSION_DENIED")
"""Error codes of what would be refused again, however often it is sent."""
_TRIES = 3
"""How often something is tried that fails by itself, while MLflow answers."""
_ARTIFACTS = ("file", "table")
_FLUSH_SECONDS = 60.0
_AWAY_SECONDS, _STALLED_SECONDS, _AGAIN_SECONDS = 10.0, 30.0, 2.0
"""How long somebody waits on while nothing is sent: MLflow away, MLflow taking its time, and once that was in vain."""


class Sender:
    """Background thread with retries; it ends with `close`, or with the process."""

    def __init__(self, uri: str, experiment: str, journal: "Journal", say: Callable[[str], None]) -> None:
        """Start sending.

        Args:
            uri: Where to.
            experiment: Name of the MLflow experiment.
            journal: What is sent; it may grow.
            say: Called with one line when MLflow goes away, comes back, or refuses something.
        """
        # MLflow's client would try for minutes by itself, and nobody could end it meanwhile.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        # The client would print two lines for every run that ends; the end of an experiment prints one link to all.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._uri, self._experiment, self._journal, self._say = uri, experiment, journal, say
        self._folder = journal.file.parent
        self.state = SendState.load(self._folder, uri, experiment, journal.id)
        self._first, self._last = deque[int](), deque[int]()
        self._changed = threading.Condition()
        for place in self.state.aside:
            self.state.aside[place] = ""
        self._queue_aside()
        self._closing, self._hurry = threading.Event(), threading.Event()
        self._said: set[str] = set()
        self._tries: dict[int, int] = {}
        self._away, self._connected = False, False
        self._pause = _FIRST_PAUSE
        self._moved, self._gave_up = time.monotonic(), 0.0
        self._thread = threading.Thread(target=self._work, daemon=True, name="tracking")
        self._thread.start()

    def wake(self) -> None:
        """Say that the journal has grown."""
        with self._changed:
            self._changed.notify_all()

    def flush(self, seconds: float | None = None) -> int:
        """Wait until everything is sent or set aside; returns how many operations MLflow does not have.

        Args:
            seconds: At most so long; where it is not given, as long as it moves on, but no longer than a minute.
        """
        began = time.monotonic()
        self._hurry.set()
        with self._changed:
            while self._waiting() and self._thread.is_alive() and not self._is_over(began, seconds):
                self._changed.notify_all()
                self._changed.wait(timeout=0.1)
            if self._waiting():
                self._gave_up = time.monotonic()
            return self._waiting() + len(self._refused())

    def close(self, seconds: float | None = None) -> int:
        """Flush, and end the thread; returns how many operations MLflow does not have."""
        with self._changed:
            # Somebody may have restored meanwhile what had been deleted.
            for place in self._refused():
                if not self._is_artifact(place):
                    self.state.aside[place] = ""
                    self._first.append(place)
        left = self.flush(seconds)
        self._closing.set()
        self._hurry.set()
        self.wake()
        return left

    def sent(self) -> int:
        """Return how many operations MLflow has."""
        return self.state.applied - len(self.state.aside)

    def reasons(self) -> list[str]:
        """Return why operations have been set aside, each reason once."""
        return list(dict.fromkeys(self._refused().values()))

    def _refused(self) -> dict[int, str]:
        return {place: reason for place, reason in sorted(self.state.aside.items()) if reason}

    def _waiting(self) -> int:
        return len(self._journal) - self.state.applied + len(self.state.aside) - len(self._refused())

    def _is_over(self, began: float, seconds: float | None) -> bool:
        now = time.monotonic()
        if seconds is not None:
            return now >= began + seconds
        patience = _AWAY_SECONDS if self._away else _STALLED_SECONDS if self._connected else _FLUSH_SECONDS
        if self._gave_up > self._moved:
            patience = _AGAIN_SECONDS
        return now >= began + _FLUSH_SECONDS or now >= max(began, self._moved) + patience

    def _is_artifact(self, place: int) -> bool:
        return self._journal[place].kind in _ARTIFACTS

    def _queue_aside(self) -> None:
        """Queue what is aside and has to be tried: artifacts behind everything, the rest before it."""
        self._first.clear()
        self._last.clear()
        for place in sorted(place for place, reason in self.state.aside.items() if not reason):
            (self._last if self._is_artifact(place) else self._first).append(place)

    def _next(self) -> int | None:
        """Return the place of the operation whose turn it is; None where all have had theirs."""
        with self._changed:
            if self._first:
                return self._first[0]
            while self.state.applied < len(self._journal):
                if not self._is_artifact(self.state.applied):
                    return self.state.applied
                self.state.aside[self.state.applied] = ""
                self._last.append(self.state.applied)
                self.state.applied += 1
            return self._last[0] if self._last else None

    def _settle(self, place: int, reason: str | None = None) -> None:
        """Note that an operation has been sent, or why it is set aside."""
        with self._changed:
            for queue in (self._first, self._last):
                if queue and queue[0] == place:
                    queue.popleft()
            if place == self.state.applied:
                self.state.applied += 1
            if reason is None:
                self.state.aside.pop(place, None)
            else:
                self.state.aside[place] = reason
            self._moved = time.monotonic()
            try:
                self.state.save(self._folder)
            except OSError as error:
                # What is sent twice is there once; only the time is lost.
                self._say_once("state", f"is written to, but how far cannot be noted: {_line(error)}")

    def _work(self) -> None:
        # MLflow takes seconds to import, in which nobody has to wait.
        from orchestrator.tracking.writer import MlflowWriter

        writer = MlflowWriter(self._uri, self._experiment, self._journal, self.state)
        while not self._closing.is_set():
            place = self._next()
            if place is None:
                with self._changed:
                    self._changed.notify_all()
                    self._changed.wait(timeout=1.0)
                continue
            try:
                if not self._connected:
                    writer.connect()
                    with self._changed:
                        self._queue_aside()
                        self._connected, self._moved = True, time.monotonic()
                    continue
                writer.apply(place, late=place < self.state.applied)
                self._settle(place)
            except Exception as error:  # noqa: BLE001 - databases and networks fail in ways of their own; it is said
                if (reason := self._obstacle(error, place, writer)) is None:
                    self._wait(error)
                else:
                    self._set_aside(place, reason, error)
            else:
                if self._away:
                    self._say(f"tracking: {masked(self._uri)} answers again")
                self._away, self._pause = False, _FIRST_PAUSE

    def _obstacle(self, error: Exception, place: int, writer: "MlflowWriter") -> str | None:
        """Return why an operation is to be set aside; None where it has to wait, since MLflow is away."""
        from mlflow.exceptions import MlflowException

        from orchestrator.tracking.writer import RunNotOpenError

        if isinstance(error, RunNotOpenError):
            return str(error)
        if isinstance(error, MlflowException) and error.error_code in _REFUSALS:
            return (writer.deletion() if self._connected else None) or _line(error)
        self._tries[place] = self._tries.get(place, 0) + 1
        # Artifacts have a place of their own: their failure says nothing about MLflow, and costs time at every try.
        if not self._connected or self._tries[place] < (1 if self._is_artifact(place) else _TRIES):
            return None
        return _line(error) if writer.is_there() else None

    def _set_aside(self, place: int, reason: str, error: Exception) -> None:
        artifact = self._is_artifact(place)
        if not isinstance(error, LookupError):
            self._say_once(
                f"{artifact} {type(error).__name__} {getattr(error, 'error_code', '')}",
                f"refuses {'an artifact' if artifact else 'a record'}, which is set aside ({reason}); the same command "
                "sends it once the cause is gone",
            )
        self._settle(place, reason)

    def _wait(self, error: Exception) -> None:
        """Wait before the next try, unless somebody waits for it already."""
        if not self._away:
            self._say(
                f"tracking: {masked(self._uri)} cannot be written to ({_line(error)}); records wait in "
                f"{self._journal.file} and are sent as soon as it can"
            )
        self._away = True
        self._hurry.clear()
        if not self._closing.is_set():
            self._hurry.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._say(f"tracking: {masked(self._uri)} {text}")


def _line(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__
