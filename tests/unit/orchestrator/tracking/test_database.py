"""The SQLite database is whole or not there, and one of another MLflow is refused."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.tracking.database import check_database, create_database, database_file

CREATE = "import sys; from orchestrator.tracking.database import create_database; create_database(sys.argv[1])"


def database(file: Path, *statements: str) -> str:
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{file}"


def test_only_files_of_sqlite_are_looked_at() -> None:
    assert database_file("sqlite:////tmp/my%20runs/x.db") == Path("/tmp/my runs/x.db")
    assert database_file("sqlite:///x.db") == Path("x.db")
    assert [database_file(uri) for uri in ("sqlite://", "sqlite:///:memory:", "http://x", "mysql://x/y")] == [None] * 4


def test_a_database_that_is_killed_while_it_is_made_leaves_nothing_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", CREATE, f"sqlite:///{file}"], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not any(one.stat().st_size for one in file.parent.glob(".mlflow.db.new-*")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.exists()
    for left in file.parent.glob(".mlflow.db.new-*"):
        os.utime(left, (0, 0))

    # The next command makes it, clears up, and finds it whole.
    create_database(f"sqlite:///{file}")
    check_database(f"sqlite:///{file}")
    assert [one.name for one in file.parent.iterdir()] == ["mlflow.db"]
    written = file.stat().st_mtime_ns
    create_database(f"sqlite:///{file}")
    assert file.stat().st_mtime_ns == written

    # What an older MLflow has made is refused, with the way to mend it.
    database(file, "UPDATE alembic_version SET version_num = 'f5a4f2784254'")
    with pytest.raises(UserError) as caught:
        check_database(f"sqlite:///{file}")
    assert f"copy {file} first, then upgrade it: mlflow db upgrade sqlite:///{file}" in str(caught.value)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["CREATE TABLE experiments (x)"], "whose making was interrupted; move it away"),
        (
            ["CREATE TABLE alembic_version (version_num)", "INSERT INTO alembic_version VALUES ('tomorrow')"],
            "a newer MLflow has made this database",
        ),
    ],
)
def test_a_database_that_cannot_be_used_is_refused(tmp_path: Path, statements: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_database(database(tmp_path / "x.db", *statements))


def test_what_is_no_database_is_refused_and_an_empty_file_becomes_one(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.touch()
    check_database(f"sqlite:///{file}")
    file.write_text("no database" * 100)
    with pytest.raises(UserError, match="is no database"):
        check_database(f"sqlite:///{file}")
