"""Shard folder of Parquet files: what is in its shards, read, checked and written.

Shards are never rewritten, and complete as soon as they have their name. What is wrong with one is damage, which the
command that finds it sets aside.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.store.integrity import DamagedShard, check_contents, check_layout, contradicted
from orchestrator.store.shard_files import ShardFiles
from orchestrator.store.shards import Listing, Shard

T = TypeVar("T")


def rows_per_group(table: pa.Table) -> int:
    """Return how many rows of a table are written at a time; a small table is one row group."""
    size: int = table.nbytes
    return max(1, len(table) * _ROW_GROUP_BYTES // max(size, _ROW_GROUP_BYTES))


@dataclass(frozen=True)
class FailedRow:
    """A row that could not be computed.

    Attributes:
        shard: The shard that it is in.
        question: Its question.
        sample: Its sample.
        error: Why.
    """

    shard: Shard
    question: int
    sample: int
    error: str


@dataclass(frozen=True)
class Inspection:
    """What reading every shard of a folder has shown.

    Attributes:
        damages: Shards that are not what their names say.
        failed: Rows of the others that could not be computed.
    """

    damages: Sequence[DamagedShard] = ()
    failed: Sequence[FailedRow] = ()


SCORES = "scores-"
"""What the names of folders with scores begin with."""

_ROW_GROUP_BYTES = 32 << 20
"""Parquet keeps a row group in memory in several forms until it is written: eight times as much as it holds."""

_ROWS_FOR_THREADS = 4096
"""To hand the columns of a small shard to threads takes longer than to read them."""


class ShardFolder(ShardFiles):
    """The shards of one kind of result.

    Attributes:
        schema: Columns of its shards with their types; none where they are not known.
        optional: Those that older shards lack.
        error_column: The one that says why a row could not be computed.
    """

    schema: ClassVar[pa.Schema] = pa.schema([])
    optional: ClassVar[frozenset[str]] = frozenset()
    error_column: ClassVar[str] = "error"

    @property
    def whole_questions(self) -> bool:
        """Whether the samples of a question are computed together, so that none of them can be made anew alone."""
        return False

    def folders_of_scores(self) -> list["ShardFolder"]:
        """List the folders with scores of these trajectories, whichever model gave them."""
        names = [name for name in self._folders(self.directory) if name.startswith(SCORES)]
        return [ShardFolder(self.root, f"{self.name}/{name}", {}) for name in names]

    def write(self, shard: Shard, table: pa.Table, latents: str | None = None) -> None:
        """Write a shard; writing the same shard again replaces it with the same content.

        Args:
            shard: Which one.
            table: Its rows.
            latents: Which latent vectors are in the table, where it is not what is wanted here but more.

        Raises:
            UserError: If the place cannot be written, such as a disk that is full.
        """
        sink = pa.BufferOutputStream()
        # What a disk or a copy has changed must not become another result: readers verify the checksums.
        pq.write_table(table, sink, rows_per_group(table), compression="zstd", write_page_checksum=True)
        self._write(shard.file_name(latents or self.latents), sink.getvalue())

    def table(self, shard: Shard, latents: str) -> pa.Table:
        """Read one file of `files`, whole.

        Raises:
            DamagedShard: If it is not what its name says.
        """

        def whole(file: pq.ParquetFile) -> pa.Table:
            table = file.read()
            check_contents(table, shard)
            return table

        return self._parse(shard, shard.file_name(latents), None, whole)

    def inspect(self, question_ids: Sequence[str] | None = None) -> Inspection:
        """Read every shard but for its latents, which take most of the time: which are damaged, and what has failed.

        Args:
            question_ids: Of all questions in order, where they are known.
        """
        found, rows, failed = [], 0, list[FailedRow]()
        columns = [name for name in self.schema.names if name != "latents" and name not in self.optional]
        columns = columns or [self.error_column]
        for shard, name in self._files():
            rows += shard.rows
            try:
                failed += self._failed_rows(shard, self._table_of(shard, name, columns, question_ids))
            except DamagedShard as damage:
                found.append(damage)
        shards = self.shards()
        ends = [(shard.end_question, shard.end_sample) for shard in shards]
        if not found and ends:
            questions, samples = (max(end) for end in zip(*ends, strict=True))
            if rows > self.covered(questions, samples).sum():
                try:
                    self.read(questions, samples, [name for name in columns if name in ("answer", "correct", "error")])
                except DamagedShard as damage:
                    found.append(damage)
        return Inspection(found, failed)

    def _failed_rows(self, shard: Shard, table: pa.Table) -> Iterator[FailedRow]:
        errors = table[self.error_column]
        for row in np.flatnonzero(errors.is_valid().to_numpy()).tolist():
            question, sample = divmod(row, shard.samples)
            place = shard.first_question + question, shard.first_sample + sample
            yield FailedRow(shard, *place, str(errors[row].as_py()))

    def damaged(self, question_ids: Sequence[str] | None = None) -> list[DamagedShard]:
        """List the shards that are damaged, see `inspect`."""
        return list(self.inspect(question_ids).damages)

    def disregard_damaged(self, damages: Iterable[DamagedShard]) -> list[str]:
        """Take damaged shards for absent; returns a line for each."""
        damages = list(damages)
        for damage in damages:
            self.disregard(damage)
        return [f"{damage.what}; the command sets it aside and makes it anew" for damage in damages]

    def set_aside_damaged(self, damages: Iterable[DamagedShard]) -> list[str]:
        """Rename damaged shards; returns a line for each.

        Raises:
            UserError: If the place cannot be written.
        """
        damages = list(damages)
        names = [" and ".join(self.set_aside(damage)) for damage in damages]
        return [
            f"{damage.what}; set aside as {aside}, and made anew" for damage, aside in zip(damages, names, strict=True)
        ]

    def read(
        self,
        questions: int,
        samples: int,
        columns: Sequence[str] | None = None,
        first_question: int = 0,
        question_ids: Sequence[str] | None = None,
        listing: Listing | None = None,
    ) -> pd.DataFrame:
        """Read the rows of questions `first_question`..`questions - 1` and of the first `samples` samples.

        Args:
            questions: End of the range of questions.
            samples: End of the range of samples.
            columns: Which columns, by default all.
            first_question: Begin of the range of questions.
            question_ids: Of all questions in order, where they are known: shards have to agree.
            listing: What `listing` has returned; who reads many parts of a large folder need not list it for each.

        Returns:
            One row per question and sample, each once, ordered by question index and sample index.

        Raises:
            DamagedShard: If a shard is not what its name says, or two of them contradict each other.
        """
        wanted = None if columns is None else [*dict.fromkeys(["question_index", "sample_index", *columns])]
        read = (listing or self.listing()).among(first_question, questions, samples)
        if not read:
            return pd.DataFrame(columns=wanted)
        rows = _joined([self._table_of(shard, name, wanted, question_ids) for shard, name in read])
        asked_rows = rows["question_index"].between(first_question, questions - 1)
        rows = rows[asked_rows & (rows["sample_index"] < samples)]
        # Two runs with different shard borders may have computed the same row; both copies are equal, but for what
        # failed for lack of memory in one of them.
        if (place := contradicted(rows)) is not None:
            files = [name for shard, name in read if shard.has(*place)]
            reason = f"they have different answers of question {place[0]}, sample {place[1]}"
            raise DamagedShard(self.directory, files, reason)
        if "error" in rows:
            rows = rows.sort_values("error", key=lambda error: error.notna(), kind="stable")
        rows = rows.drop_duplicates(["question_index", "sample_index"])
        in_order: pd.DataFrame = rows.sort_values(["question_index", "sample_index"], ignore_index=True)
        return in_order

    def _table_of(
        self, shard: Shard, name: str, columns: Sequence[str] | None, question_ids: Sequence[str] | None = None
    ) -> pa.Table:
        def checked(file: pq.ParquetFile) -> pa.Table:
            found = self._table(file, columns)
            check_contents(found, shard, question_ids)
            return found

        return self._parse(shard, name, columns, checked)

    def _table(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
        """Read some columns of a shard, by default all of them."""
        return file.read(columns=columns, use_threads=file.metadata.num_rows >= _ROWS_FOR_THREADS)

    def _parse(self, shard: Shard, name: str, columns: Sequence[str] | None, parse: Callable[[pq.ParquetFile], T]) -> T:
        """Open a shard, check its layout, and read from it; what is wrong with it is damage."""
        filesystem, _ = self._filesystem()
        path = f"{self.directory}/{name}"
        try:
            with filesystem.open_input_file(path) as file:
                parquet = pq.ParquetFile(file, page_checksum_verification=True)
                check_layout(parquet, shard, self.schema, self.optional, columns)
                return parse(parquet)
        except DamagedShard:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            # Arrow says in the same way that a file is broken and that a network is: the latter says it again here.
            with filesystem.open_input_stream(path) as stream:
                stream.read()
            raise DamagedShard(self.directory, [name], str(error)) from error


def _joined(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Return the rows of shards one behind the other."""
    if all(table.schema.equals(tables[0].schema) for table in tables):
        # To make a frame of each takes most of the time of reading many small shards.
        tables = [pa.concat_tables(tables)]
    # Those that differ in the precision of their latents cannot become one table.
    rows: pd.DataFrame = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    return rows
