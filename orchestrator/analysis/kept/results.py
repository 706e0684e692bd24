"""Record of kept results: in a run directory, what was computed of which content.

The content of a result is a hash of all that it is made of: which files of the store, as they were when they were
listed, which rows of them, and which code.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from latent_core.tasks.base import Problem
from orchestrator.files import write_json
from orchestrator.store.folder import ShardFolder
from orchestrator.store.trial import Trial

RECORD: Final = ".kept.json"


class KeptResults:
    """Results of the trials of a run directory, each beside a hash of what it was made of."""

    def __init__(self, out: Path) -> None:
        """Read the record of a directory; one that is missing or cannot be read stands for no results."""
        self._file = out / RECORD
        self._known = _read(self._file)
        self._changed = False

    def find(self, kind: str, trial: str, content: str) -> Any:
        """Return a result of a trial where it was made of that content; None where it was not."""
        known = self._known.get(f"{kind} of {trial}", {})
        return known.get("result") if known.get("content") == content else None

    def note(self, kind: str, trial: str, content: str, result: Any) -> Any:
        """Remember a result that JSON can hold and that is not None; returns it as it will be found."""
        plain = json.loads(json.dumps(result))
        self._known[f"{kind} of {trial}"] = {"content": content, "result": plain}
        self._changed = True
        return plain

    def save(self) -> None:
        """Write the record if it has changed.

        Raises:
            OSError: If it cannot be written.
        """
        if self._changed:
            write_json(self._file, self._known)


def content_of(
    trials: Iterable[Trial], folders: Iterable[ShardFolder], problems: Sequence[Problem], *others: str
) -> str:
    """Return a hash of what a result is made of.

    Args:
        trials: The trials whose rows it is made of, as they count.
        folders: Where these rows are.
        problems: The questions.
        others: What else it depends on, the code that computes it among it.
    """
    return digest(
        *others,
        *(f"{one.name} {one.sampler} {one.cut_answers}" for one in trials),
        *(f"{problem.question_id} {problem.grader} {problem.answer}" for problem in problems),
        *(f"{folder.place} {json.dumps(folder.content, sort_keys=True)} {folder.stamps()}" for folder in folders),
    )


@cache
def source_of(*modules: ModuleType) -> str:
    """Return a hash of the source of modules, and of all modules directly in packages."""
    files: list[Path] = []
    for module in modules:
        folders = getattr(module, "__path__", None)
        found = (
            [Path(str(module.__file__))] if folders is None else [one for f in folders for one in Path(f).glob("*.py")]
        )
        files += sorted(found)
    return digest(*(file.read_text(encoding="utf-8") for file in files))


def digest(*parts: str) -> str:
    """Return a hash of texts (32 hexadecimal digits)."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: one for name, one in content.items() if isinstance(one, dict)} if isinstance(content, dict) else {}
