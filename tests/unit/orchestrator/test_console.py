import io

import pytest
from rich.console import Console

from orchestrator.console import make_console, masked, masked_values, say, widened, without_masks


def test_people_are_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print("words")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "words\n")


def test_what_is_said_is_neither_broken_nor_read_as_markup() -> None:
    text = io.StringIO()
    line = f"a [red]path[/red]: /{'x' * 300} y"
    say(Console(file=text, width=40, force_terminal=True, color_system="truecolor"), line)
    assert text.getvalue() == f"{line}\n"


@pytest.mark.parametrize(("terminal", "width"), [(False, 120), (True, 40)])
def test_only_what_is_no_terminal_is_widened(terminal: bool, width: int) -> None:
    assert widened(Console(file=io.StringIO(), width=40, force_terminal=terminal)).width == width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/x", "http://***@host:5000/x"),
        ("https://secret@host", "https://***@host"),
        ("postgresql+psycopg2://u:se@cr@host/db", "postgresql+psycopg2://***@host/db"),
        ("s3://key:secret@bucket/store?region=x", "s3://***@bucket/store?region=x"),
        ("cannot reach 'http://u:s@a/b' or http://u:s@c", "cannot reach 'http://***@a/b' or http://***@c"),
        ("az://c/p?sas_token=secret&x=1", "az://c/p?sas_token=***&x=1"),
        ("mysql://host/db?user=a&password=secret", "mysql://host/db?user=a&password=***"),
        ("s3://bucket/x?access_key=secret&secret_key=secret", "s3://bucket/x?access_key=***&secret_key=***"),
        ("abfss://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("abfs://container:secret@account/x", "abfs://container:***@account/x"),
        ("gs://anonymous@bucket", "gs://anonymous@bucket"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("/runs/a@b", "/runs/a@b"),
    ],
)
def test_what_gives_access_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


def test_plain_data_is_masked_as_deep_as_it_goes() -> None:
    content = {"store": {"path": "s3://k:s@b"}, "budgets": [1, 2], "places": ["http://u:p@h", None]}
    shown = {"store": {"path": "s3://***@b"}, "budgets": [1, 2], "places": ["http://***@h", None]}
    assert masked_values(content) == shown


@pytest.mark.parametrize(
    ("shown", "used"),
    [
        ("s3://***@bucket/x?region=r", "s3://bucket/x?region=r"),
        ("s3://bucket/x?secret_key=***&region=r&access_key=***", "s3://bucket/x?region=r"),
        ("s3://bucket/x?secret_key=***", "s3://bucket/x"),
        ("abfs://container:***@account/x", "abfs://container@account/x"),
        ("s3://key:secret@bucket", "s3://key:secret@bucket"),
        ("/a/b", "/a/b"),
    ],
)
def test_what_was_masked_is_left_to_the_environment(shown: str, used: str) -> None:
    assert without_masks(shown) == used
