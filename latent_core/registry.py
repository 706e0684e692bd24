"""Registries that find their entries by themselves: a new entry is one new file in a registry's package."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Generic, TypeVar

from latent_core.code_identity import calling_module, code_of, defining_modules
from latent_core.errors import UserError
from latent_core.plugins import load_entry_points

T = TypeVar("T")

_OWN = ("latent_core", "orchestrator")


def nearest_hint(name: str, known: list[str]) -> str:
    """Return "did you mean 'x'?" for the closest known name, or the list of known names."""
    if not known:
        return "no keys are known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


class Registry(Generic[T]):
    """Entries by name, collected from the modules of one package, or of a few."""

    def __init__(self, noun: str, *packages: str, group: str | None = None) -> None:
        """Create a registry.

        Args:
            noun: What an entry is, for error messages ("sampler").
            packages: The packages whose modules register the entries on import.
            group: Group of entry points whose modules do so too, see `latent_core.plugins`.
        """
        self.noun = noun
        self._group = group
        self._packages = packages
        self._entries: dict[str, T] = {}
        self._versions: dict[str, int] = {}
        self._registered_by: dict[str, str] = {}
        self._discovered = False

    def register(self, name: str, entry: T, version: int | None = None) -> T:
        """Add an entry.

        Args:
            name: Its name.
            entry: The entry.
            version: Version of its behaviour; where it is not given, the entry's attribute `version`, else 1.

        Raises:
            ValueError: If the name is taken by another entry.
        """
        registered_by = calling_module()
        if registered_by.partition(".")[0] not in _OWN:
            # Whoever takes a name that is taken is to be told, not who comes with it later.
            self._discover()
        if self._entries.setdefault(name, entry) is not entry:
            raise ValueError(f"two entries register the {self.noun} {name!r}")
        self._registered_by.setdefault(name, registered_by)
        if version is not None:
            self._versions[name] = version
        return entry

    def version(self, name: str) -> int:
        """Return the version of an entry's behaviour."""
        entry = self[name]
        return self._versions.get(name, int(getattr(entry, "version", 1)))

    def modules(self, name: str) -> set[str]:
        """Return the modules that define and register an entry."""
        entry = self[name]
        registered_by = self._registered_by.get(name)
        return defining_modules(entry) | ({registered_by} if registered_by else set())

    def code(self, name: str, version: int | None = None, apart: Sequence[str] = ()) -> dict[str, Any]:
        """Say which code an entry is, as it stands in what names a folder of the store; see `code_of`.

        Raises:
            UserError: If there is no such entry, or its source cannot be read.
        """
        own = self.version(name) if version is None else version
        return code_of(f"{self.noun} {name!r}", self.modules(name), own, apart)

    def _discover(self) -> None:
        if not self._discovered:
            self._discovered = True
            for name in self._packages:
                package: ModuleType = importlib.import_module(name)
                for module in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{name}.{module.name}")
            if self._group is not None:
                load_entry_points(self._group)

    def __getitem__(self, name: str) -> T:
        """Return the entry of that name.

        Raises:
            UserError: If there is none; the message names the nearest one.
        """
        self._discover()
        if name not in self._entries:
            raise UserError(f"unknown {self.noun} {name!r}: {nearest_hint(name, list(self._entries))}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        self._discover()
        return name in self._entries
