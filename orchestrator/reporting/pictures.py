"""Picture cache: a picture is drawn again only where what it shows, or how it is drawn, is no longer the same.

Drawing takes most of the time of a command that finds everything in the store. A record beside the pictures says what
each was made of and which bytes came out; a file that has been changed or removed since is drawn anew.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import latent_core.selection.aggregations
import orchestrator.reporting
from orchestrator.files import write_json

RECORD: Final = ".pictures.json"
_DRAWING_PACKAGES = (orchestrator.reporting, latent_core.selection.aggregations)
"""Whose source decides what a picture looks like: aggregations bring titles and colours."""


class PictureRecord:
    """What the pictures in a directory were made of."""

    def __init__(self, out: Path) -> None:
        """Read the record of a directory; one that is missing or cannot be read stands for no picture."""
        self._file = out / RECORD
        self._known = _read(self._file)
        self._changed = False

    def is_current(self, path: Path, content: str) -> bool:
        """Whether a picture has been drawn of that content and lies there as it was drawn."""
        known = self._known.get(path.name, {})
        return known.get("content") == content and path.is_file() and known.get("file") == digest(path.read_bytes())

    def note(self, path: Path, content: str) -> None:
        """Remember of what a picture has just been drawn."""
        self._known[path.name] = {"content": content, "file": digest(path.read_bytes())}
        self._changed = True

    def save(self) -> None:
        """Write the record if it has changed."""
        if self._changed:
            write_json(self._file, self._known)


def digest(content: bytes) -> str:
    """Return a hash of bytes (16 hexadecimal digits)."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@cache
def drawing_code() -> str:
    """Return a hash of what decides how pictures look besides their content: own source, libraries, their settings."""
    import matplotlib

    folders = [Path(folder) for package in _DRAWING_PACKAGES for folder in package.__path__]
    sources = [file.read_bytes() for folder in folders for file in sorted(folder.rglob("*.py"))]
    libraries = [matplotlib.__version__, str(matplotlib.rcParams), importlib.metadata.version("plotly")]
    return digest(b"\0".join([*sources, *(one.encode() for one in libraries)]))


def _read(file: Path) -> dict[str, Mapping[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: one for name, one in content.items() if isinstance(one, dict)} if isinstance(content, dict) else {}
