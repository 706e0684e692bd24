"""Files of shards in a folder of the store: listed by name, written whole, set aside and removed; never opened.

Shards are files that say in their names which block of questions and which range of samples they hold, so that knowing
what is there needs one listing and no reading. A shard is written under a temporary name and renamed.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from orchestrator.console import masked
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.places import filesystem_of, joined, unwritable, write_whole
from orchestrator.store.shards import Listing, Shard, covered_by

_PRECISION = {"none": 0, "float16": 1, "float32": 2}


class ShardFiles:
    """The files of one folder. Cheap to build, and small enough to travel to tasks."""

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
        self._disregarded: frozenset[str] = frozenset()

    @property
    def directory(self) -> str:
        """Path of the folder inside its filesystem."""
        return f"{self._filesystem()[1]}/{self.name}"

    def _filesystem(self) -> tuple[fs.FileSystem, str]:
        return filesystem_of(self.root)

    @property
    def place(self) -> str:
        """Where the folder is, as a path or URI that may be shown and written down."""
        return masked(joined(self.root, self.name))

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
                write_whole(filesystem, path, json.dumps(self.content, indent=2).encode())
        except OSError as error:
            raise unwritable(self.root, error) from error

    def shards(self) -> list[Shard]:
        """List the shards that are present with enough precision, in order."""
        return sorted({shard for shard, _ in self._files()})

    def beside(self) -> list[str]:
        """List the folders in the root of the store by name, in order."""
        return self._folders(self._filesystem()[1])

    def _folders(self, path: str) -> list[str]:
        filesystem, _ = self._filesystem()
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def covered(self, questions: int, samples: int) -> np.ndarray:
        """Return which samples are present, bool [questions, samples]."""
        return covered_by((shard for shard, _ in self._files()), questions, samples)

    def stamps(self) -> list[tuple[str, int, int]]:
        """List the files of shards: name, bytes, and when it was written, in nanoseconds; 0 where nobody knows."""
        return [(info.base_name, info.size, info.mtime_ns or 0) for _, _, info in self._entries()]

    def last_written(self) -> datetime | None:
        """Return when the youngest of the shards was written; None where there is none."""
        times = [info.mtime for _, _, info in self._entries() if info.mtime is not None]
        return max(times, default=None)

    def listing(self) -> Listing:
        """List the shards for several calls of `read`."""
        return Listing(self._files())

    def files(self) -> list[tuple[Shard, str]]:
        """List the files of shards with enough precision, in order: the shard, and which latent vectors it has."""
        return [(shard, precision) for shard, precision, _ in self._entries()]

    def disregard(self, damage: DamagedShard) -> None:
        """Take files for absent from now on, without touching them."""
        self._disregarded |= frozenset(damage.files)

    def set_aside(self, damage: DamagedShard) -> list[str]:
        """Rename files so that they count as absent and are made again; returns their new names.

        Raises:
            UserError: If the place cannot be written.
        """
        filesystem, _ = self._filesystem()
        names = []
        for name in damage.files:
            aside = f"{name}.damaged-{uuid.uuid4().hex[:8]}"
            try:
                filesystem.move(f"{self.directory}/{name}", f"{self.directory}/{aside}")
            except FileNotFoundError:
                # Another command on the same store has set it aside.
                continue
            except OSError as error:
                raise unwritable(self.root, error) from error
            names.append(aside)
        return names

    def remove(self, shard: Shard, latents: str) -> None:
        """Delete one file of `files`, if it is still there.

        Raises:
            UserError: If the place cannot be written.
        """
        filesystem, _ = self._filesystem()
        try:
            with suppress(FileNotFoundError):
                filesystem.delete_file(f"{self.directory}/{shard.file_name(latents)}")
        except OSError as error:
            raise unwritable(self.root, error) from error

    def copy(self, shard: Shard, latents: str, source: "ShardFiles") -> None:
        """Copy one file of another folder's `files` here as it is."""
        filesystem, _ = source._filesystem()
        name = shard.file_name(latents)
        with filesystem.open_input_stream(f"{source.directory}/{name}") as file:
            self._write(name, file.read_buffer())

    def _files(self) -> Iterator[tuple[Shard, str]]:
        return ((shard, info.base_name) for shard, _, info in self._entries())

    def _entries(self) -> Iterator[tuple[Shard, str, fs.FileInfo]]:
        filesystem, _ = self._filesystem()
        selector = fs.FileSelector(self.directory, allow_not_found=True)
        for info in sorted(filesystem.get_file_info(selector), key=lambda info: info.base_name):
            parsed = Shard.parse(info.base_name)
            if info.base_name in self._disregarded:
                continue
            if parsed is not None and _PRECISION[parsed[1]] >= _PRECISION[self.latents]:
                yield *parsed, info

    def _write(self, name: str, content: pa.Buffer) -> None:
        filesystem, _ = self._filesystem()
        try:
            write_whole(filesystem, f"{self.directory}/{name}", content)
        except OSError as error:
            raise unwritable(self.root, error) from error
