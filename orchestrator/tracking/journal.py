"""Write-ahead journal of tracking, the outbox in the run directory: on disk before anybody tries to send it.

A line per operation. It outlives the driver and the tracking server, so that nothing is lost while either is away, and
it knows what has been written down before, so that nothing is tracked twice.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.files import append_whole, write_atomically

JOURNAL_FILE = "tracking.jsonl"
_FORMAT = 1

Kind = Literal["start", "resume", "metrics", "tags", "file", "table", "end", "lost"]


@dataclass(frozen=True)
class Operation:
    """One entry of the journal.

    Attributes:
        kind: What is done.
        run: Name of the run within the experiment.
        time: When it was written down, in milliseconds since 1970; MLflow tells repetitions by it.
        content: "start": `name`, `params`, `tags`, `parent` (a run, or None). "metrics": `points`, a list of key,
            value and step. "tags": tag by name. "file" and "table": `path`. "end": `status`.
            "lost": nothing; it keeps the place of an operation that cannot be read any more.
    """

    kind: Kind
    run: str
    time: int
    content: dict[str, Any] = field(default_factory=dict)


_LOST = Operation("lost", "", 0)


class Journal:
    """Append-only log of one experiment's tracking operations, written by one process.

    Attributes:
        id: Distinguishes this journal's runs from those of all others.
        resumed: Whether it held operations of an earlier command.
    """

    def __init__(self, folder: Path, configuration: str, say: Callable[[str], None] = lambda _: None) -> None:
        """Open the journal of a run directory, or begin it.

        A journal of another configuration is put aside: its curves are those of other experiments.

        Args:
            folder: The run directory.
            configuration: Identifies what is being run.
            say: Called with one line if some of it cannot be read.
        """
        self.file = folder / JOURNAL_FILE
        self._lock = threading.Lock()
        self._operations: list[Operation] = []
        self._points: dict[tuple[str, str, int], float] = {}
        header, operations = self._read()
        self.resumed = header.get("configuration") == configuration and header.get("format") == _FORMAT
        if self.resumed:
            for operation in operations:
                self._remember(operation)
            if lost := sum(operation.kind == "lost" for operation in operations):
                say(f"tracking: {lost} of {len(operations)} records in {self.file} cannot be read and are left out")
        else:
            if self.file.exists():
                aside = _free_name(self.file)
                self.file.replace(aside)
                if not header:
                    say(f"tracking: the first line of {self.file} cannot be read; it is kept as {aside.name}")
            header = {"format": _FORMAT, "id": uuid.uuid4().hex, "configuration": configuration}
            write_atomically(self.file, json.dumps(header) + "\n")
        self.id = str(header["id"])

    def __len__(self) -> int:
        return len(self._operations)

    def __getitem__(self, index: int) -> Operation:
        return self._operations[index]

    def after(self, index: int) -> list[Operation]:
        """Return the operations behind one."""
        return self._operations[index + 1 :]

    def append(self, kind: Kind, run: str, **content: Any) -> None:
        """Write an operation down."""
        operation = Operation(kind, run, int(time.time() * 1000), content)
        with self._lock:
            append_whole(self.file, (json.dumps(asdict(operation)) + "\n").encode())
            self._remember(operation)

    def append_metrics(self, run: str, points: list[tuple[str, float, int]], *, final: bool = False) -> None:
        """Write down values that are numbers and are not there yet; a metric has one value at a step.

        Args:
            run: Whose they are.
            points: Name, value and step of each.
            final: Whether a value replaces another one: what failed and has been made anew counts otherwise then.
        """
        new = []
        for name, value, step in points:
            known = self._points.get((run, name, step))
            if value == value and (known is None or (final and known != value)):
                new.append((name, value, step))
        if new:
            self.append("metrics", run, points=[list(point) for point in new])

    def has_run(self, run: str) -> bool:
        """Whether a run has been started."""
        return any(operation.kind == "start" and operation.run == run for operation in self._operations)

    def runs(self) -> list[str]:
        """Return the runs that have been started, in order."""
        return [operation.run for operation in self._operations if operation.kind == "start"]

    def last_step(self, run: str, metric: str) -> int:
        """Return the largest step of a metric, 0 where it has none."""
        return max((step for name, key, step in self._points if (name, key) == (run, metric)), default=0)

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        """Return steps and values of a metric, by step."""
        return sorted(
            (step, value) for (name, key, step), value in self._points.items() if (name, key) == (run, metric)
        )

    def is_open(self, run: str) -> bool:
        """Whether a run has been started and not ended since."""
        kinds = [one.kind for one in self._operations if one.run == run and one.kind in ("start", "resume", "end")]
        return bool(kinds) and kinds[-1] != "end"

    def _remember(self, operation: Operation) -> None:
        self._operations.append(operation)
        for key, value, step in operation.content.get("points", ()):
            self._points[operation.run, key, int(step)] = value

    def _read(self) -> tuple[dict[str, Any], list[Operation]]:
        if not self.file.is_file():
            return {}, []
        lines = self.file.read_bytes().split(b"\n")
        # What stands behind the last line feed was being written when its writer was killed.
        if lines[-1]:
            write_atomically(self.file, b"".join(line + b"\n" for line in lines[:-1]))
        whole = [line for line in lines[:-1] if line]
        header = _parsed(whole[0]) if whole else None
        return (header, [_operation(line) for line in whole[1:]]) if header else ({}, [])


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _operation(line: bytes) -> Operation:
    """Read a line; a broken one becomes an operation without effect: what has been sent is counted by places."""
    content = _parsed(line)
    try:
        operation = Operation(**content) if content else None
    except TypeError:
        operation = None
    if operation is None or operation.kind not in get_args(Kind) or not isinstance(operation.content, dict):
        return _LOST
    points = operation.content.get("points", [])
    whole = isinstance(points, list) and all(isinstance(point, list) and len(point) == 3 for point in points)
    return operation if whole else _LOST


def _free_name(file: Path) -> Path:
    number = 1
    while (free := file.with_name(f"{file.stem}-{number}{file.suffix}")).exists():
        number += 1
    return free
