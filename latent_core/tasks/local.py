"""Benchmarks from a local JSON, JSONL or Parquet file."""

import json
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.grading import NUMERIC
from latent_core.tasks.rows import Columns, check_columns, read_problems

DEFAULT_COLUMNS = Columns(id="id", steps="steps")
"""Of these `id` and `steps` may be missing."""


def load_local(path: str, columns: Columns | None = None, grader: str = NUMERIC) -> Task:
    """Read a data set file.

    A `.json` file holds a list of objects, a `.jsonl` file one object per line, a `.parquet` file a table.

    Args:
        path: The file; its name without the suffix names the task.
        columns: Which columns are read; without it `question` and `answer`, and `steps` and `id` where there are any.
        grader: Name of the grader of the answers.

    Raises:
        UserError: If the file is missing, cannot be read, has no rows, or a row lacks a column; the message names the
            row.
    """
    where = f"task.path {path}"
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{where}: no such file")
    rows = _read_rows(file)
    # Rows of JSON need not be alike: a column that only some of them lack is missed further down.
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    if columns is not None and names:
        check_columns(where, columns, list(names))
    return Task(name=file.stem, problems=read_problems(where, rows, columns or DEFAULT_COLUMNS, grader))


def _read_rows(file: Path) -> list[Any]:
    if file.suffix == ".parquet":
        return _read_table(file)
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".jsonl":
            return _read_lines(file, text)
        rows = json.loads(text)
    except ValueError as error:
        raise UserError(f"task.path {file}: not valid {file.suffix.lstrip('.').upper() or 'JSON'}: {error}") from error
    if not isinstance(rows, list):
        raise UserError(f"task.path {file}: expected a list of rows, found {type(rows).__name__}")
    return rows


def _read_lines(file: Path, text: str) -> list[Any]:
    rows = []
    # Only a line feed ends a row: other separators may stand inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"task.path {file}: not valid JSONL: line {number}: {error}") from error
    return rows


def _read_table(file: Path) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Any] = pq.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"task.path {file}: not valid Parquet: {reason}") from error
    return rows
