"""Atomic file writes: a file is whole as soon as it has its name.

A command may be killed at any moment, and somebody may ask for its status while it writes. What lies in a store is
written by `orchestrator.store.folder`, for a store need not be on a local disk.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a temporary file beside the target, then rename it; text is encoded as UTF-8.

    Raises:
        OSError: If it cannot be written; it names the file, also where a disk is full, which the system says of none.
    """
    # The process id keeps two writers apart; the rename makes the last one win with a whole file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def append_whole(path: Path, content: bytes) -> None:
    """Append to a file, or leave it as it was: a part, which a full disk may leave, would spoil what comes next.

    Raises:
        OSError: If it cannot be written; it names the file.
    """
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
        except BaseException as error:
            file.truncate(before)
            if isinstance(error, OSError):
                error.filename = str(path)
            raise


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def write_yaml(path: Path, content: Any) -> None:
    """Write YAML with keys in the order given."""
    write_atomically(path, yaml.safe_dump(content, sort_keys=False))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table; numbers are spelled so that reading restores them exactly."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
