"""Terminal output: progress and remarks go to standard error, so that standard output holds results only."""

import sys

from rich.console import Console

_LOG_WIDTH = 120


def make_console() -> Console:
    """Return the console for people, on standard error."""
    # Without a terminal to ask for its width, tables would be cut as for one of 80 columns.
    return Console(file=sys.stderr, width=None if sys.stderr.isatty() else _LOG_WIDTH)


def widened(output: Console) -> Console:
    """Give a console that is no terminal, such as a pipe, the width of a log at least, for tables."""
    # Where there is no terminal rich assumes 80 columns, which would split every table. Passing a width to print()
    # would not do: it can only narrow the console.
    if not output.is_terminal:
        output.width = max(output.width, _LOG_WIDTH)
    return output


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: unbroken, so that paths can be copied, and with nothing in it read as markup."""
    console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)
