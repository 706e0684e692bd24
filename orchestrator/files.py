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
    """Write a temporary file beside the target, then rename it; text is encoded as UTF-8."""
    # The process id keeps two writers apart; the rename makes the last one win with a whole file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
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
