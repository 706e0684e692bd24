"""Benchmarks from a local JSON, JSONL, Parquet, CSV or TSV file."""

from pathlib import Path

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns, check_columns, read_problems
from latent_core.tasks.rows import read_rows

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
    try:
        with file.open("rb") as source:
            rows = read_rows(where, file.suffix, source, columns or DEFAULT_COLUMNS)
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error}") from error
    # Rows of JSON need not be alike: a column that only some of them lack is missed further down.
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    if columns is not None and names:
        check_columns(where, columns, list(names))
    return Task(name=file.stem, problems=read_problems(where, rows, columns or DEFAULT_COLUMNS, grader))
