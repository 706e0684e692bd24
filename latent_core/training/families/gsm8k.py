"""GSM8K and whatever is written like it: grade school problems with calculator annotations (arXiv 2110.14168)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns, read_problems
from latent_core.tasks.rows import SUFFIXES, read_rows
from latent_core.training.arithmetic import calculations_of
from latent_core.training.families.base import FAMILIES, AnnotatedFamily
from latent_core.training.variants import AnnotatedProblem

_COLUMNS = Columns(steps="steps")


class Gsm8k(AnnotatedFamily):
    """Annotations `<<48/2=24>>` stand in the `answer`, whose last line is `#### 72`, or in a list `steps`."""

    fewest_steps = 1
    most_steps = 32

    def read(self, path: Path) -> Sequence[AnnotatedProblem]:
        """Read JSON, JSONL, Parquet, CSV or TSV with `question`, `answer`, and `steps` if there are any."""
        where = f"data.path {path}"
        if path.suffix not in SUFFIXES:
            raise UserError(f"{where}: {path.suffix or 'no suffix'} is none of {', '.join(SUFFIXES)}")
        try:
            with path.open("rb") as source:
                rows = read_rows(where, path.suffix, source, _COLUMNS)
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {error.strerror or error}") from error
        problems = read_problems(where, rows, _COLUMNS)
        solutions = [" ".join([*problem.steps, _answer_text(row)]) for problem, row in zip(problems, rows, strict=True)]
        found = []
        for problem, solution in zip(problems, solutions, strict=True):
            calculations = calculations_of(solution)
            if calculations:
                found.append(AnnotatedProblem(problem.question.strip(), calculations, problem.answer.replace(",", "")))
        if not found:
            raise UserError(f"{where}: no row has calculations such as <<48/2=24>> in `answer` or `steps`")
        return found


def _answer_text(row: Any) -> str:
    return str(row["answer"])


FAMILIES.register("gsm8k", Gsm8k())
