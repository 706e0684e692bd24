"""Benchmarks from the Hugging Face hub, its cache, or a directory in the hub's layout."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns, check_columns, read_problems
from latent_core.tasks.hub_files import HubFiles
from latent_core.tasks.tables import exact_decimal, narrow_columns

_PROBE_SECONDS = 10.0
_NO_SPLIT = "Unknown split"
_CONFIG_HINTS = ("Config name is missing", "BuilderConfig")


@dataclass(frozen=True)
class _Table:
    """A split: the names of its columns, and its rows."""

    columns: Sequence[str]
    rows: Iterable[Any]


def load_hub(
    hub: str,
    config: str | None = None,
    split: str = "test",
    columns: Columns | None = None,
    grader: str = NUMERIC,
    name: str | None = None,
    unanswerable: str | None = None,
) -> Task:
    """Load a split of a data set.

    Args:
        hub: Its id on the hub (owner/name), or a directory in the same layout.
        config: Its configuration, for data sets that have several.
        split: The split's name on the hub; "train+test" joins two.
        columns: Which columns are read; without it `question` and `answer`.
        grader: Name of the grader of the answers.
        name: What the task is called; made of id, configuration and split without it.
        unanswerable: Reference answer of rows that have none; without it such a row is refused.

    Raises:
        UserError: If the data set cannot be had, lacks the configuration, the split or a column, or has no rows.
    """
    where = f"task.hub {hub}"
    columns = columns or Columns()
    table = _load(where, hub, config, split, columns)
    check_columns(where, columns, table.columns)
    problems = read_problems(f"{where}, split {split}", table.rows, columns, grader, unanswerable)
    called = hub if not Path(hub).expanduser().is_dir() else Path(hub).expanduser().resolve().name
    has_train = "train" in (name.partition("[")[0] for name in split.split("+"))
    return Task(
        name or "/".join([called, *([config] if config else []), split]),
        problems,
        train_questions=None if has_train else partial(_train_questions, where, hub, config, columns),
    )


def _train_questions(where: str, hub: str, config: str | None, columns: Columns) -> Iterator[str]:
    """Give the questions of the split that is called "train", if there is one."""
    needed = (*columns.question, *([columns.options] if columns.options is not None else []))
    try:
        table = _load(where, hub, config, "train", columns, needed)
    except UserError as error:
        if _NO_SPLIT in str(error):
            return iter(())
        raise
    check_columns(where, columns.model_copy(update={"answer": needed[0], "id": None, "steps": None}), table.columns)
    rows = ((row, {name: str(row.get(name, "")) for name in columns.question}) for row in table.rows)
    return (columns.question_of(f"{where}, split train", row, texts) for row, texts in rows)


def _load(
    where: str, hub: str, config: str | None, split: str, columns: Columns, only: Sequence[str] | None = None
) -> _Table:
    directory = Path(hub).expanduser()
    if directory.is_dir():
        return _load_split(where, str(directory), config, split, columns, only)
    if directory.is_absolute() or hub.startswith((".", "~")) or hub.count("/") != 1:
        raise UserError(f"{where}: no such directory, and not a hub id (owner/name); one file is given by task.path")
    reason = _unreachable(where, hub)
    if reason is None:
        return _load_split(where, hub, config, split, columns, only)
    return _load_cached(where, hub, config, split, columns, only, reason)


def _load_cached(
    where: str,
    hub: str,
    config: str | None,
    split: str,
    columns: Columns,
    only: Sequence[str] | None,
    reason: str,
) -> _Table:
    """Load what `hf download` or an earlier `load_dataset` has left in the caches; without a network."""
    from huggingface_hub import is_offline_mode

    refusal = UserError(
        f"{where}: the hub did not give it ({reason}), and it has not been downloaded; where the network is, run "
        f"`hf download --repo-type dataset {shlex.quote(hub)}`, or name a file by task.path"
    )
    snapshot = _downloaded(hub)
    if snapshot is not None:
        try:
            return _load_split(where, snapshot, config, split, columns, only)
        except UserError as error:
            # An earlier `load_dataset` leaves no more of the snapshot than it needed, but also its own copy.
            refusal = UserError(f"{error} (read from the cache, since the hub cannot be reached)")
    if is_offline_mode():
        try:
            return _load_split(where, hub, config, split, columns, only)
        except UserError as error:
            if not isinstance(error.__cause__, ConnectionError):
                refusal = error
    raise refusal


def _unreachable(where: str, hub: str) -> str | None:
    """Return why the hub cannot be asked now, or None where it knows the data set.

    Asked before `load_dataset`, which without a network tries for half a minute and never looks at what
    `hf download` has left in the cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(hub, timeout=_PROBE_SECONDS)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UserError(
            f"{where}: the hub has no data set of that id, or it is private; look it up on huggingface.co/datasets, "
            "or log in with `hf auth login`"
        ) from error
    except Exception as error:  # noqa: BLE001 - whatever the network or a proxy does, the cache may have it
        return type(error).__name__
    return None


def _downloaded(hub: str) -> str | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return str(snapshot_download(hub, repo_type="dataset", local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _load_split(
    where: str, source: str, config: str | None, split: str, columns: Columns, only: Sequence[str] | None
) -> _Table:
    try:
        builder = _builder(source, config)
        files = HubFiles(where, builder)
        if files.plain:
            rows = files.read(split, columns, only)
            return _Table(list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)), rows)
        _refuse_guessed_copy(where, builder)
        return _read_by_library(source, config, split)
    except UserError:
        raise
    except Exception as error:
        reason, _, _ = " ".join(str(error).split()).partition(" Example of usage")
        reason = reason[:300] or type(error).__name__
        if reason.startswith(_CONFIG_HINTS):
            raise UserError(f"{where}: {reason}; set task.hub_config") from error
        if reason.startswith(_NO_SPLIT):
            raise UserError(f"{where}: {reason}; set task.split") from error
        raise UserError(f"{where}: it cannot be loaded: {reason}") from error


def _builder(source: str, config: str | None) -> Any:
    """Return the library's builder of a configuration, which knows its files."""
    # Takes a second to import; only who loads such a data set waits for it.
    from datasets import load_dataset_builder

    try:
        return load_dataset_builder(source, config)
    except Exception:
        patterns = _patterns(source, config)
        if patterns is None:
            raise
        # The library looks at the files of the first configuration whichever is meant; a snapshot in the cache may
        # have those of another one only.
        return load_dataset_builder(source, data_files=patterns)


def _patterns(source: str, config: str | None) -> Any:
    """Return which files make a configuration, as the card of a directory says; None where it says nothing of it."""
    from huggingface_hub import DatasetCard

    card = Path(source) / "README.md"
    if not card.is_file():
        return None
    described = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict().get("configs") or []
    return next((one.get("data_files") for one in described if one.get("config_name") == config), None)


def _refuse_guessed_copy(where: str, builder: Any) -> None:
    """Refuse what the library has once made of JSON or CSV, where the files themselves are not at hand.

    Raises:
        UserError: With what fetches them.
    """
    if builder.info.builder_name in ("json", "csv"):
        raise UserError(
            f"{where}: the cache has a copy whose texts may have been taken for numbers and dates, and not the files; "
            "where the network is, run the same command or `hf download --repo-type dataset` with its id"
        )


def _read_by_library(source: str, config: str | None, split: str) -> _Table:
    """Read a format that is not read here, such as text or Arrow files."""
    from datasets import load_dataset

    # What it has made of a directory it would know again by names and times.
    mode = "force_redownload" if Path(source).is_dir() else None
    table = load_dataset(source, config, split=split, download_mode=mode)
    return _Table(table.column_names, _rows(table))


def _rows(table: Any) -> Iterable[Any]:
    """Go through the rows; single-precision numbers come as the decimals that they are written as."""
    narrow = narrow_columns(table.features.arrow_schema)
    for row in table:
        yield {**row, **{name: exact_decimal(row[name], narrow[name]) for name in narrow}} if narrow else row
