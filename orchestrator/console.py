"""Terminal output: progress and remarks go to standard error, so that standard output holds results only."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

_LOG_WIDTH = 120
MASK = "***"
# A password may hold an "@" that nobody has escaped: what is masked ends at the last one before the path.
_USER = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)([^/\s'\"?#]*)@", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&][^=&\s'\"]*(?:passw|pwd|token|secret|signature|credential|sig|key)[^=&\s'\"]*=)[^&\s#'\"]+", re.IGNORECASE
)
_NAME_FIRST = ("abfs://", "abfss://", "hdfs://", "viewfs://", "gs://", "gcs://")
"""Where a container or a plain name stands before the host, which gives no access, and a password only behind it."""


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


class _LastingText(io.TextIOWrapper):
    """Text stream whose writer goes on where nobody takes the text any more."""

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write as far as anybody reads; from the first failure on the text goes nowhere."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.error = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        super().flush()


@contextmanager
def lasting_output() -> Iterator[Callable[[], list[OSError]]]:
    """Let a command go on that writes to a pager which has been closed, or to a log on a disk that is full.

    What it computes and writes elsewhere must not depend on that. Yields what tells which errors there were.
    """
    before = {name: stream for name in ("stdout", "stderr") if (stream := getattr(sys, name)) is not None}
    streams: list[_LastingText] = []
    for name, stream in before.items():
        # Whoever has put another stream there, such as a test, wants to have the text.
        if stream is getattr(sys, f"__{name}__"):
            stream.flush()
            binary = io.BufferedWriter(io.FileIO(stream.fileno(), "wb", closefd=False))
            options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            streams.append(_LastingText(binary, stream.encoding, stream.errors, **options))
            setattr(sys, name, streams[-1])

    def errors() -> list[OSError]:
        for stream in streams:
            stream.flush()
        return [stream.error for stream in streams if stream.error is not None]

    try:
        yield errors
    finally:
        errors()
        for name, stream in before.items():
            setattr(sys, name, stream)


def masked(text: str) -> str:
    """Replace what gives access in the URIs of a text: user and password before the host, and secrets in the query.

    Whatever is shown, logged or written down and may hold a URI goes through here. The user is masked too: some
    services take a token there.
    """
    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(_masked_user, text))


def masked_values(content: Any) -> Any:
    """Return plain data, such as a configuration, with every text in it masked."""
    if isinstance(content, str):
        return masked(content)
    if isinstance(content, dict):
        return {key: masked_values(value) for key, value in content.items()}
    return [masked_values(one) for one in content] if isinstance(content, list) else content


def without_masks(uri: str) -> str:
    """Return a URI as it was written down without what was masked, which the environment has to give then."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    address, question, query = rest.partition("?")
    kept = [part for part in query.split("&") if part and not part.endswith(f"={MASK}")]
    address = re.sub(rf":?{re.escape(MASK)}@", "@", address, count=1).removeprefix("@")
    return f"{scheme}://{address}{question if kept else ''}{'&'.join(kept)}"


def _masked_user(found: re.Match[str]) -> str:
    scheme, user = found[1], found[2]
    name, colon, _ = user.partition(":")
    if scheme.lower() in _NAME_FIRST:
        return f"{scheme}{name}{colon}{MASK if colon else ''}@"
    return f"{scheme}{MASK}@"
