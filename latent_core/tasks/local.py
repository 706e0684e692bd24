"""Benchmarks from a local JSON, JSONL, Parquet, CSV or TSV file."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.settings import object_of_pairs
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns, check_columns, read_problems
from latent_core.tasks.tables import exact_decimals

DEFAULT_COLUMNS = Columns(id="id", steps="steps")
"""Of these `id` and `steps` may be missing."""


def load_local(path: str, columns: Columns | None = None, grader: str = NUMERIC) -> Task:
    """Read a data set file.

    A `.json` file holds a list of objects, a `.jsonl` file one object per line, a `.parquet` file a table, a `.csv` or
    `.tsv` file a line of column names and a line per row, parted by ",", ";", "|" or tabs.

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
    rows = _read_rows(file, columns or DEFAULT_COLUMNS)
    # Rows of JSON need not be alike: a column that only some of them lack is missed further down.
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    if columns is not None and names:
        check_columns(where, columns, list(names))
    return Task(name=file.stem, problems=read_problems(where, rows, columns or DEFAULT_COLUMNS, grader))


def _read_rows(file: Path, columns: Columns) -> list[Any]:
    if file.suffix == ".parquet":
        return _read_table(file)
    if file.suffix in (".csv", ".tsv"):
        return _read_separated(file, columns)
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".jsonl":
            return _read_lines(file, text)
        rows = json.loads(text, object_pairs_hook=object_of_pairs)
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
                rows.append(json.loads(line, object_pairs_hook=object_of_pairs))
            except ValueError as error:
                raise UserError(f"task.path {file}: not valid JSONL: line {number}: {error}") from error
    return rows


_SEPARATORS = (",", ";", "\t", "|")


def _read_separated(file: Path, columns: Columns) -> list[Any]:
    """Read text whose separator is the one that parts all lines alike."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.path {file}: cannot be read as UTF-8 text: {error}") from error
    tables, reasons = [], {}
    for separator in _SEPARATORS if file.suffix == ".csv" else ("\t",):
        try:
            tables.append(_parted(text, separator))
        except (csv.Error, ValueError) as error:
            reasons[separator] = str(error)
    if len(tables) > 1:
        wanted = {*columns.question, columns.answer}
        tables = [table for table in tables if wanted <= set(table[0])] or tables
    if len(tables) == 1:
        names, *rows = tables[0]
        return [{name: cell or None for name, cell in zip(names, row, strict=True)} for row in rows]
    if tables:
        raise UserError(f"task.path {file}: several separators part its lines alike; name its columns by task.columns")
    # The separator that the first line has most of is the one that was meant.
    meant = max(reasons, key=text.partition("\n")[0].count)
    raise UserError(f"task.path {file}: no separator parts all its lines alike; with {meant!r}: {reasons[meant]}")


def _parted(text: str, separator: str) -> list[list[str]]:
    """Part text into rows of cells, the names of the columns first.

    Raises:
        ValueError: If rows differ in length, or names repeat themselves; csv.Error where quotes are wrong.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    table: list[list[str]] = []
    for row in reader:
        if not row:
            continue
        if table and len(row) != len(table[0]):
            raise ValueError(f"line {reader.line_num} has {len(row)} cells, and the first line {len(table[0])}")
        table.append([name.strip() for name in row] if not table else row)
    if not table or len(table[0]) < 2:
        raise ValueError("the first line has one cell")
    if len(set(table[0])) < len(table[0]):
        raise ValueError("a column's name stands twice in the first line")
    return table


def _read_table(file: Path) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Any] = exact_decimals(pq.read_table(file)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"task.path {file}: not valid Parquet: {reason}") from error
    return rows
