"""Benchmarks from the Hugging Face hub, its cache, or a directory in the hub's layout."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns, check_columns, join_columns, read_problems
from latent_core.tasks.tables import exact_decimal, narrow_columns

_PROBE_SECONDS = 10.0
_NO_SPLIT = "Unknown split"
_CONFIG_HINTS = ("Config name is missing", "BuilderConfig")


def load_hub(
    hub: str,
    config: str | None = None,
    split: str = "test",
    columns: Columns | None = None,
    grader: str = NUMERIC,
    name: str | None = None,
) -> Task:
    """Load a split of a data set.

    Args:
        hub: Its id on the hub (owner/name), or a directory in the same layout.
        config: Its configuration, for data sets that have several.
        split: The split's name on the hub; "train+test" joins two.
        columns: Which columns are read; without it `question` and `answer`.
        grader: Name of the grader of the answers.
        name: What the task is called; made of id, configuration and split without it.

    Raises:
        UserError: If the data set cannot be had, lacks the configuration, the split or a column, or has no rows.
    """
    where = f"task.hub {hub}"
    columns = columns or Columns()
    table = _load(where, hub, config, split)
    check_columns(where, columns, table.column_names)
    problems = read_problems(f"{where}, split {split}", _rows(table), columns, grader)
    called = hub if not Path(hub).expanduser().is_dir() else Path(hub).expanduser().resolve().name
    has_train = "train" in (name.partition("[")[0] for name in split.split("+"))
    return Task(
        name or "/".join([called, *([config] if config else []), split]),
        problems,
        train_questions=None if has_train else partial(_train_questions, where, hub, config, columns),
    )


def _train_questions(where: str, hub: str, config: str | None, columns: Columns) -> Iterator[str]:
    """Give the questions of the split that is called "train", if there is one."""
    try:
        table = _load(where, hub, config, "train")
    except UserError as error:
        if _NO_SPLIT in str(error):
            return iter(())
        raise
    check_columns(where, Columns(question=columns.question, answer=columns.answer), table.column_names)
    some = table.select_columns(list(columns.question))
    return (join_columns([str(row[name]) for name in columns.question]) for row in some)


def _rows(table: Any) -> Iterable[Any]:
    """Go through the rows; single-precision numbers come as the decimals that they are written as."""
    narrow = narrow_columns(table.features.arrow_schema)
    for row in table:
        yield {**row, **{name: exact_decimal(row[name], narrow[name]) for name in narrow}} if narrow else row


def _load(where: str, hub: str, config: str | None, split: str) -> Any:
    directory = Path(hub).expanduser()
    if directory.is_dir():
        return _load_split(where, str(directory), config, split)
    if directory.is_absolute() or hub.startswith((".", "~")) or hub.count("/") != 1:
        raise UserError(f"{where}: no such directory, and not a hub id (owner/name); one file is given by task.path")
    reason = _unreachable(where, hub)
    if reason is None:
        return _load_split(where, hub, config, split)
    return _load_cached(where, hub, config, split, reason)


def _load_cached(where: str, hub: str, config: str | None, split: str, reason: str) -> Any:
    """Load what `hf download` or an earlier `load_dataset` has left in the caches; without a network."""
    from huggingface_hub import is_offline_mode

    refusal = UserError(
        f"{where}: the hub did not give it ({reason}), and it has not been downloaded; where the network is, run "
        f"`hf download --repo-type dataset {hub}`, or name a file by task.path"
    )
    snapshot = _downloaded(hub)
    if snapshot is not None:
        try:
            return _load_split(where, snapshot, config, split)
        except UserError as error:
            # An earlier `load_dataset` leaves no more of the snapshot than it needed, but also its own copy.
            refusal = UserError(f"{error} (read from the cache, since the hub cannot be reached)")
    if is_offline_mode():
        try:
            return _load_split(where, hub, config, split)
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


def _load_split(where: str, source: str, config: str | None, split: str) -> Any:
    # Takes a second to import; only who loads such a data set waits for it.
    from datasets import load_dataset

    try:
        return load_dataset(source, config, split=split)
    except Exception as error:
        reason, _, _ = " ".join(str(error).split()).partition(" Example of usage")
        reason = reason[:300] or type(error).__name__
        if reason.startswith(_CONFIG_HINTS):
            raise UserError(f"{where}: {reason}; set task.hub_config") from error
        if reason.startswith(_NO_SPLIT):
            raise UserError(f"{where}: {reason}; set task.split") from error
        raise UserError(f"{where}: it cannot be loaded: {reason}") from error
