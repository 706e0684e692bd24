"""Integrity of shards: whether a file is what its name says, and what is wrong with one that is not.

Checksums of Parquet pages find what a disk has changed in the data. They cover neither headers nor the footer, and a
whole file may be another one: so names, types, numbers of rows and addresses are compared with what they must be.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from latent_core.errors import UserError
from orchestrator.store.shards import Shard

_ADDRESS = ["question_index", "sample_index"]


class DamagedShard(UserError):
    """Shard that is not what its name says.

    Attributes:
        directory: Path of its folder.
        files: Its name; several where they contradict each other.
        reason: What is wrong.
    """

    def __init__(self, directory: str, files: Sequence[str], reason: str) -> None:
        """Say what is wrong with files of a folder."""
        self.directory, self.files, self.reason = directory, tuple(files), " ".join(reason.split())
        # As they are given: a process that has had an exception sent to it makes it of these.
        super().__init__(directory, self.files, self.reason)

    @property
    def what(self) -> str:
        """The files, and what is wrong with them."""
        return f"damaged: {self.directory}/{' and '.join(self.files)} ({self.reason})"

    def __str__(self) -> str:
        """Say as well how to go on."""
        return f"{self.what}; the command that made it sets it aside and makes it anew when it is started again"


def check_layout(
    file: pq.ParquetFile,
    shard: Shard,
    schema: pa.Schema,
    optional: frozenset[str],
    columns: Sequence[str] | None,
) -> None:
    """Compare number of rows, columns and types with what they must be; reads the footer only.

    Args:
        file: The file.
        shard: What its name says.
        schema: Columns with their types, as far as they are known.
        optional: Those that may be absent.
        columns: What is to be read; None for everything.

    Raises:
        ValueError: With the first thing that is wrong.
    """
    if file.metadata.num_rows != shard.rows:
        raise ValueError(f"{file.metadata.num_rows} rows instead of {shard.rows}")
    found = file.schema_arrow
    required = [name for name in schema.names if name != "latents"] if columns is None else columns
    for name in required:
        if name not in found.names and name not in optional:
            raise ValueError(f"no column {name!r}")
    for name in schema.names:
        if name in found.names and not found.field(name).type.equals(schema.field(name).type):
            expected = schema.field(name).type
            raise ValueError(f"column {name!r} is of type {found.field(name).type} instead of {expected}")


def check_contents(rows: pa.Table, shard: Shard, question_ids: Sequence[str] | None = None) -> None:
    """Compare addresses and judgements with what they must be, as far as these columns have been read.

    Args:
        rows: All rows of the file.
        shard: What its name says.
        question_ids: Of all questions in order, where they are known.

    Raises:
        ValueError: With the first thing that is wrong.
    """
    names = rows.column_names
    questions = np.arange(shard.first_question, shard.end_question).repeat(shard.samples)
    samples = np.tile(np.arange(shard.first_sample, shard.end_sample), shard.questions)
    for name, expected in zip(_ADDRESS, (questions, samples), strict=True):
        if name in names and not np.array_equal(rows[name].to_numpy(), expected):
            raise ValueError(f"{name} is not what the file name says")
    if "correct" in names and rows["correct"].null_count:
        raise ValueError("column 'correct' has no value in some rows")
    if "question_id" not in names:
        return
    ids = rows["question_id"].to_numpy()
    # Questions behind the last one that is asked are not known here: they have to agree with themselves.
    known = 0 if question_ids is None else min(max(len(question_ids) - shard.first_question, 0), shard.questions)
    by_question = ids.reshape(shard.questions, shard.samples)
    asked = by_question[:, 0].copy()
    if question_ids is not None:
        asked[:known] = question_ids[shard.first_question : shard.first_question + known]
    if not (by_question == asked[:, None]).all():
        raise ValueError("question_id does not fit question_index")


def contradicted(rows: pd.DataFrame) -> tuple[int, int] | None:
    """Return the question and sample of a trajectory that is there with different results; None where there is none.

    A trajectory that has failed in one copy only is no contradiction: memory may have been short.
    """
    compared = [name for name in ("question_id", "answer", "correct") if name in rows]
    twice = rows[rows.duplicated(_ADDRESS, keep=False)]
    if twice.empty or not compared:
        return None
    if "error" in twice:
        twice = twice[twice["error"].isna()]
    distinct = twice[[*_ADDRESS, *compared]].drop_duplicates()
    different = distinct[distinct.duplicated(_ADDRESS)]
    if different.empty:
        return None
    return int(different["question_index"].iloc[0]), int(different["sample_index"].iloc[0])
