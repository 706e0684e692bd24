"""Outbox sender: a thread that sends the journal to MLflow. Whatever MLflow does, the experiment goes on."""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.tracking.journal import Journal
    from orchestrator.tracking.writer import MlflowWriter

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST", "PERMISSION_DENIED")
"""Error codes of what would be refused again, however often it is sent."""


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
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._writer: MlflowWriter | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="tracking")
        self._thread.start()

    @property
    def writer(self) -> "MlflowWriter | None":
        """What has been sent so far; None before MLflow is loaded."""
        return self._writer

    def wake(self) -> None:
        """Say that the journal has grown."""
        with self._changed:
            self._changed.notify_all()

    def flush(self, seconds: float) -> int:
        """Wait until everything is sent, at most so long; returns how many operations are left."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._left() and time.monotonic() < until and self._thread.is_alive():
                self._changed.notify_all()
                self._changed.wait(timeout=min(0.2, max(0.0, until - time.monotonic())))
            return self._left()

    def close(self, seconds: float) -> int:
        """Flush, and end the thread; returns how many operations are left."""
        left = self.flush(seconds)
        self._closing.set()
        self.wake()
        return left

    def _left(self) -> int:
        return len(self._journal) - (self._writer.applied if self._writer else 0)

    def _work(self) -> None:
        # MLflow takes seconds to import, in which nobody has to wait.
        from mlflow.exceptions import MlflowException

        from orchestrator.tracking.writer import MlflowWriter

        writer = MlflowWriter(self._uri, self._experiment, self._journal)
        self._writer = writer
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            if writer.applied >= len(self._journal):
                with self._changed:
                    self._changed.notify_all()
                    self._changed.wait(timeout=1.0)
                continue
            try:
                writer.apply_next()
            except MlflowException as error:
                if error.error_code in _REFUSALS:
                    self._say(f"tracking: {self._uri} refuses a record, which is left out: {_line(error)}")
                    writer.skip_next()
                    continue
                pause = self._away(error, pause)
            except Exception as error:  # noqa: BLE001 - databases and networks fail in ways of their own; it is said
                pause = self._away(error, pause)
            else:
                if pause > _FIRST_PAUSE:
                    self._say(f"tracking: {self._uri} answers again")
                pause = _FIRST_PAUSE

    def _away(self, error: Exception, pause: float) -> float:
        """Wait before the next try; returns how long to wait after that one."""
        if pause == _FIRST_PAUSE:
            self._say(
                f"tracking: {self._uri} cannot be written to ({_line(error)}); records wait in "
                f"{self._journal.file} and are sent as soon as it can"
            )
        self._closing.wait(pause)
        return min(2 * pause, _LONGEST_PAUSE)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
