"""Benchmarks from a local JSON or JSONL file with `question`, `answer` and optionally `steps` and `id`."""

import json
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task

_GSM8K_ANSWER_MARK = "####"


def load_local(path: str) -> Task:
    """Read a data set file.

    A `.json` file holds a list of objects, a `.jsonl` file one object per line. An answer in GSM8K's original form
    ("reasoning #### 72") is cut to what follows the mark.

    Raises:
        UserError: If the file is missing, is not JSON, has no rows, or a row lacks a column; the message names the row.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"task.path {path}: no such file")
    rows = _read_rows(file)
    if not rows:
        raise UserError(f"task.path {path}: the data set is empty")
    problems = tuple(_problem(path, index, row) for index, row in enumerate(rows))
    ids = {problem.question_id for problem in problems}
    if len(ids) != len(problems):
        raise UserError(
            f"task.path {path}: the `id` column repeats itself; ids must be unique, or leave the column out"
        )
    return Task(name=file.stem, problems=problems)


def _read_rows(file: Path) -> list[Any]:
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


def _problem(path: str, index: int, row: Any) -> Problem:
    if not isinstance(row, dict):
        raise UserError(f"task.path {path}: row {index} is not an object with `question` and `answer`")
    columns = {name: str(value) for name, value in row.items() if value is not None}
    columns["answer"] = columns.get("answer", "").rpartition(_GSM8K_ANSWER_MARK)[2].strip()
    for name in ("question", "answer"):
        if not columns.get(name, "").strip():
            found = ", ".join(row) or "no columns"
            raise UserError(f"task.path {path}: row {index} lacks `{name}` (it has {found})")
    return Problem(
        question_id=columns.get("id", str(index)),
        question=columns["question"],
        answer=columns["answer"],
        steps=tuple(str(step) for step in row.get("steps") or ()),
    )
