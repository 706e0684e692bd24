"""Shard folder of Parquet files: shards are never rewritten, and complete as soon as they have their name.

Shards are files that say in their names which block of questions and which range of samples they hold, so that knowing
what is there needs one listing and no reading. A shard is written under a temporary name and renamed.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from latent_core.errors import UserError
from orchestrator.store.shards import Shard

_PRECISION = {"none": 0, "float16": 1, "float32": 2}


class ShardFolder:
    """The shards of one kind of result. Cheap to build, and small enough to travel to tasks."""

    def __init__(self, root: str, name: str, content: Mapping[str, Any], latents: str = "none") -> None:
        """Name the folder; nothing is read or written yet.

        Args:
            root: Directory or URI of the store.
            name: Path of the folder below it.
            content: What is in it, in words, for its `spec.json`.
            latents: Whether and how latent vectors are wanted: shards with less do not count as present.
        """
        # Tasks that read and write here have working directories of their own.
        self.root = root if "://" in root else str(Path(root).expanduser().absolute())
        self.name = name
        self.content = dict(content)
        self.latents = latents

    @property
    def directory(self) -> str:
        """Path of the folder inside its filesystem."""
        return f"{self._filesystem()[1]}/{self.name}"

    def _filesystem(self) -> tuple[fs.FileSystem, str]:
        if "://" not in self.root:
            return fs.LocalFileSystem(), self.root
        try:
            filesystem, path = fs.FileSystem.from_uri(self.root)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"store.path {self.root}: {error}") from error
        return filesystem, path.rstrip("/")

    def prepare(self) -> None:
        """Create the directory with a `spec.json` that says in words what is in it.

        Raises:
            UserError: If the place cannot be written.
        """
        filesystem, _ = self._filesystem()
        try:
            filesystem.create_dir(self.directory, recursive=True)
            path = f"{self.directory}/spec.json"
            if filesystem.get_file_info(path).type == fs.FileType.NotFound:
                self._write_then_rename(path, json.dumps(self.content, indent=2).encode())
        except OSError as error:
            raise UserError(f"store.path {self.root}: cannot be written: {error}") from error

    def shards(self) -> list[Shard]:
        """List the shards that are present with enough precision, in order."""
        return sorted({shard for shard, _ in self._files()})

    def beside(self) -> list[str]:
        """List the folders in the root of the store by name, in order."""
        filesystem, root = self._filesystem()
        found = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def covered(self, questions: int, samples: int) -> np.ndarray:
        """Return which samples are present, bool [questions, samples]."""
        present = np.zeros((questions, samples), dtype=bool)
        for shard, _ in self._files():
            present[shard.first_question : shard.end_question, shard.first_sample : shard.end_sample] = True
        return present

    def last_written(self) -> datetime | None:
        """Return when the youngest of the shards was written; None where there is none."""
        times = [info.mtime for _, _, info in self._entries() if info.mtime is not None]
        return max(times, default=None)

    def write(self, shard: Shard, table: pa.Table, latents: str | None = None) -> None:
        """Write a shard; writing the same shard again replaces it with the same content.

        Args:
            shard: Which one.
            table: Its rows.
            latents: Which latent vectors are in the table, where it is not what is wanted here but more.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write_then_rename(f"{self.directory}/{shard.file_name(latents or self.latents)}", sink.getvalue())

    def files(self) -> list[tuple[Shard, str]]:
        """List the files of shards with enough precision, in order: the shard, and which latent vectors it has."""
        return [(shard, precision) for shard, precision, _ in self._entries()]

    def table(self, shard: Shard, latents: str) -> pa.Table:
        """Read one file of `files`, whole."""
        filesystem, _ = self._filesystem()
        with filesystem.open_input_file(f"{self.directory}/{shard.file_name(latents)}") as file:
            return pq.read_table(file)

    def copy(self, shard: Shard, latents: str, source: "ShardFolder") -> None:
        """Copy one file of another folder's `files` here as it is."""
        filesystem, _ = source._filesystem()
        name = shard.file_name(latents)
        with filesystem.open_input_stream(f"{source.directory}/{name}") as file:
            self._write_then_rename(f"{self.directory}/{name}", file.read_buffer())

    def read(
        self, questions: int, samples: int, columns: Sequence[str] | None = None, first_question: int = 0
    ) -> pd.DataFrame:
        """Read the rows of questions `first_question`..`questions - 1` and of the first `samples` samples.

        Returns:
            One row per question and sample, each once, ordered by question index and sample index.
        """
        wanted = None if columns is None else [*dict.fromkeys(["question_index", "sample_index", *columns])]
        filesystem, _ = self._filesystem()
        frames = []
        for shard, name in self._files():
            asked = shard.first_question < questions and shard.end_question > first_question
            if asked and shard.first_sample < samples:
                with filesystem.open_input_file(f"{self.directory}/{name}") as file:
                    frames.append(self._frame(file, wanted))
        if not frames:
            return pd.DataFrame(columns=wanted)
        rows = pd.concat(frames, ignore_index=True)
        asked_rows = rows["question_index"].between(first_question, questions - 1)
        rows = rows[asked_rows & (rows["sample_index"] < samples)]
        # Two runs with different shard borders may have computed the same row; both copies are equal.
        rows = rows.drop_duplicates(["question_index", "sample_index"])
        in_order: pd.DataFrame = rows.sort_values(["question_index", "sample_index"], ignore_index=True)
        return in_order

    def _frame(self, file: pa.NativeFile, columns: Sequence[str] | None) -> pd.DataFrame:
        """Read some columns of a shard, by default all of them."""
        frame: pd.DataFrame = pq.read_table(file, columns=columns).to_pandas()
        return frame

    def _files(self) -> Iterator[tuple[Shard, str]]:
        return ((shard, info.base_name) for shard, _, info in self._entries())

    def _entries(self) -> Iterator[tuple[Shard, str, fs.FileInfo]]:
        filesystem, _ = self._filesystem()
        selector = fs.FileSelector(self.directory, allow_not_found=True)
        for info in sorted(filesystem.get_file_info(selector), key=lambda info: info.base_name):
            parsed = Shard.parse(info.base_name)
            if parsed is not None and _PRECISION[parsed[1]] >= _PRECISION[self.latents]:
                yield *parsed, info

    def _write_then_rename(self, path: str, content: bytes | pa.Buffer) -> None:
        filesystem, _ = self._filesystem()
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        with filesystem.open_output_stream(temporary) as stream:
            stream.write(content)
        filesystem.move(temporary, path)
