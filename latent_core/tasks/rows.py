"""Rows of data files: JSON, JSON Lines, Parquet, CSV and TSV, read alike wherever a file lies.

Texts stay as they are written. Whatever guesses types, as the readers of pandas, Arrow and `datasets` do, takes "007"
for a number, "2020-01-01" for a date and "NA" for nothing, and another file of the same data set for something else.
"""

import csv
import io
import json
from collections.abc import Sequence
from typing import IO, Any

from latent_core.errors import UserError
from latent_core.settings import object_of_pairs
from latent_core.tasks.columns import Columns
from latent_core.tasks.tables import exact_decimals

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".tsv")


def read_rows(
    where: str, suffix: str, source: IO[bytes], columns: Columns, only: Sequence[str] | None = None
) -> list[Any]:
    """Read a data file.

    Args:
        where: What messages begin with, such as "task.path set.json".
        suffix: One of `SUFFIXES`, which says the format; JSON is taken for granted where it is another.
        source: The opened file.
        columns: Which columns are going to be read, to tell separators apart.
        only: Of a table in which they all are, only these columns are read.

    Raises:
        UserError: If the content is not of the format.
    """
    if suffix == ".parquet":
        return _read_table(where, source, only)
    if suffix in (".csv", ".tsv"):
        return _read_separated(where, suffix, source, columns)
    try:
        text = _text(source)
        if suffix == ".jsonl":
            return _read_lines(where, text)
        rows = json.loads(text, object_pairs_hook=object_of_pairs)
    except RecursionError:
        raise UserError(f"{where}: not valid JSON: lists or objects within each other, hundreds deep") from None
    except ValueError as error:
        raise UserError(f"{where}: not valid {suffix.lstrip('.').upper() or 'JSON'}: {error}") from error
    if not isinstance(rows, list):
        raise UserError(f"{where}: expected a list of rows, found {type(rows).__name__}")
    return rows


def _text(source: IO[bytes]) -> str:
    """Decode a file; its first bytes may say that it is UTF-8, and its lines may end in any way."""
    return io.TextIOWrapper(source, encoding="utf-8-sig").read()


def _read_lines(where: str, text: str) -> list[Any]:
    rows = []
    # Only a line feed ends a row: other separators may stand inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line, object_pairs_hook=object_of_pairs))
            except ValueError as error:
                raise UserError(f"{where}: not valid JSONL: line {number}: {error}") from error
    return rows


SEPARATORS = (",", ";", "\t", "|")


def _read_separated(where: str, suffix: str, source: IO[bytes], columns: Columns) -> list[Any]:
    """Read text whose separator is the one that parts all lines alike."""
    try:
        text = _text(source)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read as UTF-8 text: {error}") from error
    tables, reasons = [], {}
    for separator in SEPARATORS if suffix == ".csv" else ("\t",):
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
        raise UserError(f"{where}: several separators part its lines alike; name its columns by task.columns")
    # The separator that the first line has most of is the one that was meant.
    meant = max(reasons, key=text.partition("\n")[0].count)
    raise UserError(f"{where}: no separator parts all its lines alike; with {meant!r}: {reasons[meant]}")


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


def _read_table(where: str, source: IO[bytes], only: Sequence[str] | None) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source)
        known = only is not None and set(only) <= set(file.schema_arrow.names)
        rows: list[Any] = exact_decimals(file.read(columns=list(only or ()) if known else None)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{where}: not valid Parquet: {reason}") from error
    return rows
