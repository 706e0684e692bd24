"""From the rows of a data set to problems: which columns hold what."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.settings import Settings
from latent_core.tasks.base import Problem
from latent_core.tasks.options import list_options

_GSM8K_ANSWER_MARK = "####"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Columns(Settings):
    """Which columns of a data set hold what.

    Attributes:
        question: The question's column, or several that are joined by a space.
        answer: The reference answer; of GSM8K's form ("reasoning #### 72") only what follows the mark is kept.
        id: A name of each row that no other row has; without it rows are numbered from 0.
        steps: Reference reasoning steps: a list, or text with one step a line.
        options: Options of multiple-choice questions, which are written below the question, "(A) ..." a line each: a
            list of texts, or of objects with `label` and `text`, or an object with a list of each.
    """

    question: tuple[str, ...] = Field(default=("question",), min_length=1)
    answer: str = Field(default="answer", min_length=1)
    id: str | None = Field(default=None, min_length=1)
    steps: str | None = Field(default=None, min_length=1)
    options: str | None = Field(default=None, min_length=1)

    @field_validator("question", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `options` out where there are none, as in configurations that are older and keep their fingerprint."""
        return {key: value for key, value in write(self).items() if key != "options" or value is not None}

    def question_of(self, where: str, row: Mapping[str, Any], texts: Mapping[str, str]) -> str:
        """Return the question of a row, with its options if it has any.

        Args:
            where: What messages begin with.
            row: The row as it was read.
            texts: Texts of the row's question columns.

        Raises:
            UserError: If its options cannot be read.
        """
        question = join_columns([texts[name] for name in self.question])
        if self.options is None:
            return question
        return f"{question}\n{list_options(f'{where}: `{self.options}`', row.get(self.options))}"


def read_problems(
    where: str, rows: Iterable[Any], columns: Columns, grader: str = NUMERIC, unanswerable: str | None = None
) -> tuple[Problem, ...]:
    """Make problems of rows.

    Args:
        where: What messages begin with, such as "task.path set.json".
        rows: Mappings from column to value.
        columns: Which columns are read.
        grader: Name of the grader of the answers.
        unanswerable: Reference answer of rows that have none, in a data set that holds questions without an answer;
            otherwise such a row is refused.

    Raises:
        UserError: If there are no rows, a row lacks a column or holds in it what is no text and no number, ids repeat
            themselves, or the grader can read none of the reference answers; the message names row and column.
    """
    problems = tuple(_problem(where, index, row, columns, grader, unanswerable) for index, row in enumerate(rows))
    if not problems:
        raise UserError(f"{where}: the data set is empty")
    if len({problem.question_id for problem in problems}) != len(problems):
        raise UserError(
            f"{where}: the `{columns.id}` column repeats itself; ids must be unique, or leave the column out"
        )
    # Single references that cannot be read are never met; where it is all of them, the grader is the wrong one.
    if not any(problem.canonical(problem.answer) for problem in problems):
        raise UserError(
            f"{where}: the {grader} grader can read no reference answer (row 0 has {problems[0].answer[:60]!r}); "
            "for answers in words set task.grader=text"
        )
    return problems


def check_columns(where: str, columns: Columns, found: Sequence[str]) -> None:
    """Refuse columns that a data set does not have.

    Raises:
        UserError: The message lists the columns it has.
    """
    for name in (*columns.question, columns.answer, columns.id, columns.steps, columns.options):
        if name is not None and name not in found:
            raise UserError(f"{where}: no column `{name}`; it has {', '.join(found)} (set task.columns)")


def _problem(where: str, index: int, row: Any, columns: Columns, grader: str, unanswerable: str | None) -> Problem:
    if not isinstance(row, dict):
        needed = " and ".join(f"`{name}`" for name in (*columns.question, columns.answer))
        raise UserError(f"{where}: row {index} is not an object with {needed}")
    read = (*columns.question, columns.answer, columns.id)
    texts = {
        name: _text(f"{where}: row {index}: `{name}`", row[name])
        for name in read
        if name is not None and row.get(name) is not None
    }
    answer = texts.get(columns.answer, unanswerable or "").rpartition(_GSM8K_ANSWER_MARK)[2].strip()
    for name, text in [*((name, texts.get(name, "")) for name in columns.question), (columns.answer, answer)]:
        if not text.strip():
            found = ", ".join(row) or "no columns"
            cure = "" if name in row else "; say by task.columns which columns hold what"
            raise UserError(f"{where}: row {index} lacks `{name}` (it has {found}){cure}")
    return Problem(
        question_id=str(index) if columns.id is None else texts.get(columns.id, str(index)),
        question=columns.question_of(f"{where}: row {index}", row, texts),
        answer=answer,
        steps=_steps(f"{where}: row {index}: `{columns.steps}`", row, columns.steps),
        grader=grader,
    )


def _text(where: str, value: Any) -> str:
    """Return the text of a cell.

    Raises:
        UserError: If it holds something that is neither text nor a number; the message begins with `where`.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{where} holds bytes that are no UTF-8 text ({error.reason}); store it as text") from None
    if isinstance(value, Mapping) or (isinstance(value, Iterable) and not isinstance(value, str)):
        kind = "a struct" if isinstance(value, Mapping) else "a list"
        raise UserError(f"{where} holds {kind} ({str(value)[:60]}), not text; write the text into a column of its own")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} is {value}, neither text nor a number; drop the row or fill it in")
    text = str(value)
    if _LONE_SURROGATE.search(text):
        raise UserError(f"{where} holds half of a surrogate pair, which is no text; repair or drop the row")
    return text


def join_columns(parts: Sequence[str]) -> str:
    """Return the question that is spread over several columns."""
    # A single text is kept as it is: what is stored under its fingerprint was sampled from exactly these letters.
    return parts[0] if len(parts) == 1 else " ".join(part.strip() for part in parts)


def _steps(where: str, row: Mapping[str, Any], column: str | None) -> tuple[str, ...]:
    steps = row.get(column) if column is not None else None
    if steps is None:
        return ()
    if isinstance(steps, bytes):
        steps = _text(where, steps)
    if isinstance(steps, str):
        return tuple(line for line in steps.splitlines() if line.strip())
    return tuple(str(step) for step in steps) if isinstance(steps, Iterable) else (str(steps),)
