import io

import pytest
from rich.console import Console

from orchestrator.console import make_console, masked, say, widened


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
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("/runs/a@b", "/runs/a@b"),
    ],
)
def test_what_gives_access_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown
