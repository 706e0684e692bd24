"""SQLite database of MLflow: whether the installed MLflow can write to it, and how it is made."""

import contextlib
import importlib.util
import os
import re
import shlex
import sqlite3
import time
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from latent_core.errors import UserError

_REVISION = re.compile(r"^(down_)?revision = \"(\w+)\"", re.MULTILINE)
_ABANDONED_SECONDS = 600.0
_BUSY_SECONDS = 1.0


def database_file(uri: str) -> Path | None:
    """Return the file of an SQLite database; None for other URIs, and for a database in memory."""
    prefix, separator, path = uri.partition(":///")
    if not separator or prefix.lower().partition("+")[0] != "sqlite":
        return None
    path = unquote(urlsplit(path).path)
    return Path(path) if path and path != ":memory:" else None


def check_database(uri: str) -> None:
    """Refuse an SQLite database that the installed MLflow would not write to; one that does not exist is fine.

    Raises:
        UserError: If another version of MLflow has made it, if it was left half made, or is no database.
    """
    file = database_file(uri)
    if file is None or not file.is_file() or not file.stat().st_size:
        return
    try:
        tables, versions = _look(file)
    except sqlite3.OperationalError:
        # Somebody holds it, or it cannot be read just now: records wait for that, and it is said.
        return
    except sqlite3.DatabaseError as error:
        raise UserError(f"tracking.uri {uri}: {file} is no database ({error}); name another file") from None
    if tables and not versions:
        raise UserError(
            f"tracking.uri {uri}: {file} is no database of MLflow, or one whose making was interrupted; move it away, "
            "and a new one is made"
        )
    known, latest = _revisions()
    if not versions or not known or versions <= latest:
        return
    if not versions <= known:
        raise UserError(
            f"tracking.uri {uri}: a newer MLflow has made this database; update mlflow, or name another file"
        )
    raise UserError(
        f"tracking.uri {uri}: an older MLflow has made this database; copy {file} first, then upgrade it: "
        f"mlflow db upgrade {shlex.quote(uri)}"
    )


def create_database(uri: str) -> None:
    """Make the SQLite database of a URI if it does not exist: under another name, and whole as soon as it has its own.

    MLflow makes its tables in some seventy steps; a command that is killed among them would leave a database that no
    version can use.
    """
    file = database_file(uri)
    if file is None or file.exists():
        return
    from mlflow.tracking._tracking_service.utils import _get_store

    file.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in file.parent.glob(f".{file.name}.new-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - abandoned.stat().st_mtime > _ABANDONED_SECONDS:
                abandoned.unlink()
    unfinished = file.with_name(f".{file.name}.new-{uuid.uuid4().hex}")
    try:
        # As MLflow's client does, which lets no two threads make tables at a time.
        store = _get_store(f"sqlite:///{unfinished.absolute()}")  # type: ignore[no-untyped-call]
        store.engine.dispose()
        _take_name(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def _take_name(unfinished: Path, file: Path) -> None:
    """Give a file its name, unless another command has made one of that name meanwhile, and may have written to it."""
    try:
        os.link(unfinished, file)
    except FileExistsError:
        return
    except OSError:
        # Not every file system has links.
        if not file.exists():
            unfinished.rename(file)


def _look(file: Path) -> tuple[set[str], set[str]]:
    """Return the names of the tables, and the revisions that the database says it has."""
    with contextlib.closing(
        sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    ) as database:
        tables = {str(name) for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            return tables, set()
        return tables, {str(version) for (version,) in database.execute("SELECT version_num FROM alembic_version")}


def _revisions() -> tuple[set[str], set[str]]:
    """Return all revisions that the installed MLflow knows, and the latest; both empty where they are not found.

    Read as text, since importing MLflow takes seconds, in which trajectories can be on their way.
    """
    mlflow = importlib.util.find_spec("mlflow")
    known, replaced = set[str](), set[str]()
    for folder in (mlflow.submodule_search_locations or ()) if mlflow else ():
        for file in (Path(folder) / "store" / "db_migrations" / "versions").glob("*.py"):
            for is_former, revision in _REVISION.findall(file.read_text(encoding="utf-8")):
                (replaced if is_former else known).add(revision)
    return known, known - replaced
