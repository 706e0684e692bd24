"""Paths and URIs as users write them: what would silently become another place is refused.

Variables of the environment are not replaced: neither YAML nor Hydra nor Ray does so, the resolved configuration would
mean another place on another machine, and a directory of the name `$HOME` helps nobody. `~` is the home directory.
"""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<bare>\w+))")
_ONE_SLASH = re.compile(r"([a-z][a-z0-9+.-]*):/(?!/)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# What Linux and macOS take, in bytes.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


def check_path(path: str) -> str:
    """Return a path or a URI that means one place.

    Raises:
        ValueError: With what is wrong with it, and the cure.
    """
    if not path.strip():
        raise ValueError("names no place; write a path")
    if "\0" in path or has_lone_surrogate(path):
        raise ValueError("holds what is no text; rename the file or directory")
    if scheme := _ONE_SLASH.match(path):
        raise ValueError(f"has one slash behind {scheme[1]}:; write {scheme[1]}://..., or the path alone")
    if "://" not in path:
        _check_local(path)
    return check_variables(path)


def check_variables(text: str) -> str:
    """Return a text in which nobody waits for a variable to be replaced.

    Raises:
        ValueError: With the variable.
    """
    for found in _VARIABLE.finditer(text):
        meant = found["braced"] is not None or found.start() == 0 or found["bare"] in os.environ
        # A file may be called so.
        if meant and ("://" in text or not Path(text).expanduser().exists()):
            raise ValueError(
                f"{found[0]} is not replaced here; write what it stands for (~ is the home directory), or give the key "
                "on the command line, where the shell replaces it"
            )
    return text


def has_lone_surrogate(text: str) -> bool:
    """Whether half of a surrogate pair is in a text, which no file and no terminal takes."""
    return _LONE_SURROGATE.search(text) is not None


def _check_local(path: str) -> None:
    try:
        place = Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"has no home directory to begin with ({error})") from None
    longest = max((len(os.fsencode(part)) for part in place.parts), default=0)
    if longest > _LONGEST_NAME or len(os.fsencode(place)) > _LONGEST_PATH:
        raise ValueError(
            f"is too long for a path: names have at most {_LONGEST_NAME} bytes, and all of it {_LONGEST_PATH}"
        )


Place = Annotated[str, AfterValidator(check_path)]
"""A path or a URI in a configuration."""
