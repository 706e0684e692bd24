import io

import pytest
from rich.console import Console

from orchestrator.console import make_console, say, widened


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
