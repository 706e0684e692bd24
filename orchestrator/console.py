"""Terminal output: progress and remarks go to standard error, so that standard output holds results only."""

import re
import sys

from rich.console import Console

_LOG_WIDTH = 120
MASK = "***"
# A password may hold an "@" that nobody has escaped: what is masked ends at the last one before the path.
_USER = re.compile(r"(?<=://)[^/\s'\"?#]*(?=@)")
_QUERY = re.compile(
    r"([?&][^=&\s'\"]*(?:passw|pwd|token|secret|signature|credential|sig|key)[^=&\s'\"]*=)[^&\s#'\"]+", re.IGNORECASE
)


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
    """Print text as it is: unbroken, so that paths can be copied, and with nothing in it read as markup or emoji."""
    console.print(text, style=style, soft_wrap=True, markup=False, highlight=False, emoji=False)


def masked(text: str) -> str:
    """Replace what gives access in the URIs of a text: user and password before the host, and secrets in the query.

    Whatever is shown, logged or written down and may hold a URI goes through here. The user is masked too: some
    services take a token there.
    """
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(MASK, text))
