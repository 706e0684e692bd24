"""Model actors: requests that are taken one at a time, and an answer to how busy an actor is."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """How busy an actor is.

    Attributes:
        requests: Requests that are being computed or wait.
        busy_seconds: Time that has been spent computing since the actor was built.
    """

    requests: int
    busy_seconds: float


class ModelActor:
    """Base of the actors. Calls may arrive in several threads: they compute one at a time, and others are counted."""

    def __init__(self) -> None:
        """Start idle."""
        self._requests: set[int] = set()
        self._computing = threading.Lock()
        self._busy_seconds = 0.0
        self._busy_since: float | None = None

    def queue_depth(self) -> int:
        """Return the number of requests that are running or waiting here; also a sign of life."""
        return len(self._requests)

    def activity(self) -> Activity:
        """Return how busy this actor is; a request that is being computed counts up to now."""
        since = self._busy_since
        current = 0.0 if since is None else time.monotonic() - since
        return Activity(len(self._requests), self._busy_seconds + current)

    def process_id(self) -> int:
        """Return the operating system's id of the actor's process, to tell a restarted actor from its former self."""
        return os.getpid()

    @staticmethod
    def _freeze_garbage_collector() -> None:
        """Take what has been loaded out of the garbage collector's sight: it stays, and looking at it takes long."""
        gc.freeze()

    @contextmanager
    def _exclusive_section(self) -> Iterator[None]:
        """Wait until nobody else computes, and count as busy until the end."""
        token = object()
        self._requests.add(id(token))
        try:
            with self._computing:
                self._busy_since = started = time.monotonic()
                try:
                    yield
                finally:
                    self._busy_since = None
                    self._busy_seconds += time.monotonic() - started
        finally:
            self._requests.discard(id(token))
