"""Registries that find their entries by themselves: a new entry is one new file in the registry's package."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Generic, TypeVar

from latent_core.errors import UserError

T = TypeVar("T")


def nearest_hint(name: str, known: list[str]) -> str:
    """Return "did you mean 'x'?" for the closest known name, or the list of known names."""
    if not known:
        return "no keys are known here"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


class Registry(Generic[T]):
    """Entries by name, collected from the modules of one package."""

    def __init__(self, noun: str, package: str) -> None:
        """Create a registry.

        Args:
            noun: What an entry is, for error messages ("sampler").
            package: The package whose modules register the entries on import.
        """
        self.noun = noun
        self._package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str, entry: T) -> T:
        """Add an entry.

        Raises:
            ValueError: If the name is taken by another entry.
        """
        if self._entries.setdefault(name, entry) is not entry:
            raise ValueError(f"two entries register the {self.noun} {name!r}")
        return entry

    def _discover(self) -> None:
        if not self._discovered:
            self._discovered = True
            package: ModuleType = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")

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
