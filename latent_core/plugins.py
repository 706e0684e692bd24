"""Plugins: samplers, tasks, graders and other kinds from outside of this package, and how processes come by them.

An installed package names its modules as entry points of the groups `latentswarm.samplers`, `.tasks` and so on: a
registry imports those of its group when it looks for its entries. A module or a file that is not installed is named in
a configuration (`plugins: [module, path.py]`), and imported before anything else in it is read. Either way what is
imported registers itself, as shipped modules do.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from latent_core.errors import UserError

ENTRY_POINTS: Final = "latentswarm"
"""What the names of the groups of entry points begin with."""

VARIABLE: Final = "LATENTSWARM_PLUGINS"
"""Environment variable in which processes of a cluster find the plugins of a configuration, as JSON."""

_loaded: dict[str, None] = {}


def load_plugins(plugins: object) -> None:
    """Import what a configuration names.

    Args:
        plugins: A list of names of modules, and of paths that end in ".py".

    Raises:
        UserError: If it is no such list, or one of them cannot be imported; the line names it.
    """
    if not isinstance(plugins, list | tuple) or not all(isinstance(one, str) and one for one in plugins):
        raise UserError(f"plugins: a list of modules and of paths that end in .py, not {plugins!r}")
    for one in plugins:
        # Processes of a cluster have working directories of their own.
        name = str(Path(one).expanduser().absolute()) if one.endswith(".py") else one
        _import(name, f"plugins: {one}")
        _loaded[name] = None


def loaded_plugins() -> list[str]:
    """Return what has been imported for configurations, in that order; paths are absolute."""
    return list(_loaded)


def load_from_environment() -> None:
    """Import the plugins that the driver has, when a process of its cluster starts.

    Raises:
        UserError: If one cannot be imported here.
    """
    load_plugins(json.loads(os.environ.get(VARIABLE, "[]")))


def load_entry_points(group: str) -> None:
    """Import what installed packages name in a group.

    Args:
        group: What stands behind "latentswarm.", such as "samplers".

    Raises:
        UserError: If one of them cannot be imported; the line names its package.
    """
    for point in _entry_points(f"{ENTRY_POINTS}.{group}"):
        package = point.dist.name if point.dist is not None else "an installed package"
        with _named(f"plugin {point.name!r} of {package} ({point.value})"):
            point.load()


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _import(name: str, what: str) -> None:
    if not name.endswith(".py"):
        # As with `python -m`: a package beside the configuration needs no installation. The processes of a cluster
        # have the driver's folder on their path already, or the working directory of its job.
        _append_to_path(Path.cwd())
        with _named(what):
            importlib.import_module(name)
        return
    file = Path(name)
    if not file.is_file():
        raise UserError(f"{what}: no such file")
    if not file.stem.isidentifier():
        raise UserError(f"{what}: rename it: a module's name has letters, digits and underscores")
    # As Python does with a script: what lies beside it can be imported, and its classes are known by its name.
    _append_to_path(file.parent)
    with _named(what):
        module = importlib.import_module(file.stem)
    found = getattr(module, "__file__", None)
    if found is None or not Path(found).exists() or not file.samefile(found):
        raise UserError(f"{what}: rename it: there is another module {file.stem!r}, {found or 'built into Python'}")


def _append_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn whatever the code of others raises while it is imported into one line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what}: cannot be imported: {type(error).__name__}: {reason}") from error
