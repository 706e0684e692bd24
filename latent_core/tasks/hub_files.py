"""Splits of a data set in the hub's layout, whose files are read like one that is given by path.

Which files make a split is the library's matter: the data set's own description says it, or the names of the files. The
library would also read them, but guesses types, gives one split the types of another, and knows a file that it has read
before by its name and time.
"""

import dataclasses
import glob
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from latent_core.errors import UserError
from latent_core.settings import object_of_pairs
from latent_core.tasks.columns import Columns
from latent_core.tasks.rows import SEPARATORS, SUFFIXES, read_rows

_FORMATS = ("json", "csv", "parquet")
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\b")
_SAID_OF_CONTENT = {"name", "version", "data_dir", "data_files", "description", "features", "field", "sep", "delimiter"}
_SAID_OF_SPEED = {"chunksize", "batch_size", "use_threads", "block_size", "columns"}


class HubFiles:
    """The files of one configuration of a data set."""

    def __init__(self, where: str, builder: Any) -> None:
        """Ask the library's builder of a configuration for its files; messages begin with `where`."""
        self._where = where
        self._builder = builder

    @property
    def plain(self) -> bool:
        """Whether they are of a format that is read here, and nothing is said of them that only the library heeds."""
        config = self._builder.config
        if type(self._builder).__module__.split(".")[-1] not in _FORMATS or not config.data_files:
            return False
        if getattr(config, "sep", ",") not in SEPARATORS or getattr(config, "encoding", None) not in (None, "utf-8"):
            return False
        return all(
            field.name in _SAID_OF_CONTENT | _SAID_OF_SPEED | {"encoding"}
            or getattr(config, field.name) == field.default
            or field.default_factory is not dataclasses.MISSING
            for field in dataclasses.fields(config)
        )

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return [str(split) for split in self._builder.config.data_files]

    def read(self, split: str, columns: Columns, only: Sequence[str] | None = None) -> list[Any]:
        """Read a split, a slice of one such as "test[:10%]", or several that are joined by "+".

        Args:
            split: What is read.
            columns: Which columns are going to be read, to tell separators apart.
            only: Of tables in which they all are, only these columns are read.

        Raises:
            UserError: If a file cannot be read, or fewer rows are there than the data set says it has.
            ValueError: If there is no such split; the message is the library's.
        """
        from datasets import ReadInstruction

        splits = _Splits(self, columns, only)
        names = "+".join(self.splits) if split == "all" else split
        parts = ReadInstruction.from_spec(names).to_absolute(splits)
        return [row for part in parts for row in splits.rows(part.splitname)[part.from_ : part.to]]

    @cached_property
    def _files(self) -> Mapping[str, Sequence[tuple[str, Path]]]:
        """Names and places of all files by split, those of the hub in its cache."""
        from datasets import DownloadConfig, DownloadManager

        wanted = self._builder.config.data_files
        # Other splits come along: from what is in the cache then, the library finds its way without a network.
        manager = DownloadManager(
            dataset_name=self._builder.dataset_name,
            base_path=self._builder.base_path,
            download_config=DownloadConfig(token=self._builder.token),
        )
        places = manager.download({split: list(files) for split, files in wanted.items()})
        return {
            str(split): [(str(name), Path(place)) for name, place in zip(files, places[split], strict=True)]
            for split, files in wanted.items()
        }

    def rows_of(self, split: str, columns: Columns, only: Sequence[str] | None) -> list[Any]:
        """Read all rows of a split, in the order of its files."""
        files = self._files[split]
        rows = [row for name, place in files for row in self._rows_of_file(name, place, columns, only)]
        described = (self._builder.info.splits or {}).get(split)
        count = getattr(described, "num_examples", None)
        if count and len(rows) != count:
            raise UserError(
                f"{self._where}: split {split} has {len(rows):,} rows in its files, and the data set's "
                f"own description says {count:,}; get all of its files, or correct `num_examples` in its README.md"
            )
        if not count:
            self._check_shards(split)
        return rows

    def _check_shards(self, split: str) -> None:
        """Refuse a directory that lacks some of the files that the names of the others count."""
        for name, place in self._files[split]:
            numbered = _SHARD.match(place.name)
            if numbered is None or "://" in name:
                continue
            shards = {one.name for one in place.parent.glob(f"{glob.escape(numbered[1])}-*-of-{numbered[3]}*")}
            # A configuration may name some of many shards; who takes all that are there wants all there are.
            if len(shards) < int(numbered[3]) and shards <= {file.name for _, file in self._files[split]}:
                raise UserError(
                    f"{self._where}: split {split} has {len(shards)} of {int(numbered[3])} files ({place.name}, ...); "
                    "get the missing ones"
                )

    def _rows_of_file(self, name: str, place: Path, columns: Columns, only: Sequence[str] | None) -> Iterator[Any]:
        for inner, source in _opened(name.partition("?")[0], place):
            where = f"{self._where}: {Path(inner).name}"
            try:
                with source:
                    yield from self._rows_of_source(where, Path(inner).suffix.lower(), source, columns, only)
            except OSError as error:
                raise UserError(f"{where}: cannot be read: {error}") from error

    def _rows_of_source(
        self, where: str, suffix: str, source: IO[bytes], columns: Columns, only: Sequence[str] | None
    ) -> list[Any]:
        if suffix in (".parquet", ".csv", ".tsv"):
            return read_rows(where, suffix, source, columns, only)
        content = source.read()
        field = getattr(self._builder.config, "field", None)
        if field is not None:
            content = _field(where, content, field)
        # On the hub a .json file may hold an object a line, and a .jsonl file a list.
        listed = content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
        return read_rows(where, ".json" if listed else ".jsonl", io.BytesIO(content), columns)


class _Splits(Mapping[str, int]):
    """Numbers of rows by split, as the library asks for them; only the splits that it asks for are read."""

    def __init__(self, files: HubFiles, columns: Columns, only: Sequence[str] | None) -> None:
        self._all, self._columns, self._only = files, columns, only
        self._read: dict[str, list[Any]] = {}

    def rows(self, split: str) -> list[Any]:
        if split not in self._read:
            self._read[split] = self._all.rows_of(split, self._columns, self._only)
        return self._read[split]

    def __getitem__(self, split: str) -> int:
        return len(self.rows(split))

    def __contains__(self, split: object) -> bool:
        return split in self._all.splits

    def __iter__(self) -> Iterator[str]:
        return iter(self._all.splits)

    def __len__(self) -> int:
        return len(self._all.splits)


def _opened(name: str, place: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Open a file, or those of an archive that are data, with their names without what says how they are compressed."""
    suffix = Path(name).suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            for inner in sorted(archive.namelist()):
                if Path(inner).suffix.lower() in (*SUFFIXES, ".ndjson") and not inner.startswith("__MACOSX"):
                    yield inner, archive.open(inner)
    elif suffix in _COMPRESSIONS:
        import pyarrow as pa

        with pa.input_stream(str(place), compression=_COMPRESSIONS[suffix]) as source:
            yield Path(name).stem, io.BytesIO(source.read())
    else:
        yield name, place.open("rb")


def _field(where: str, content: bytes, field: str) -> bytes:
    """Return what stands under a key, as the description of a data set may say of a JSON file."""
    try:
        return json.dumps(json.loads(content, object_pairs_hook=object_of_pairs)[field]).encode()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{where}: has no list under {field!r}, where the data set's description puts it") from error
