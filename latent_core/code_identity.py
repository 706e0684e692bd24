"""Code identity: which source decided a stored row, and whether it is the source that was shipped.

A kind (a sampler, a grader, a feedback head) is code that decides what is in the store. Its code is the module that
defines it and, from there on, every module that these import and that belongs to them: those of `latent_core`, and
those of the package or the folder in which the kind is defined. Libraries are not part of it.

Where all of that is as it was shipped (`latent_core/shipped.py`), the kind's version says everything. Elsewhere, in a
file of the user's own or in a shipped one that has been edited, a hash of the source does. Comments, documentation and
blank lines do not count. The source is read where an experiment is planned, and only there.
"""

import ast
import functools
import hashlib
import importlib.util
import io
import sys
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import PurePath
from types import FrameType, FunctionType, MethodType
from typing import Any

from latent_core.errors import UserError
from latent_core.shipped import SOURCES

_OWN = "latent_core"
_NO_PART = frozenset(
    {_OWN, *(f"{_OWN}.{name}" for name in ("code_identity", "errors", "registry", "settings", "shipped"))}
)
"""Modules that kinds are built with and that decide nothing about a row."""
_LIBRARIES = ("site-packages", "dist-packages")
_TYPES_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def code_of(what: str, modules: Iterable[str], version: int = 1, apart: Sequence[str] = ()) -> dict[str, Any]:
    """Say which code a kind is, as it stands in what names a folder of the store.

    Args:
        what: What messages call the kind, such as "sampler 'gaussian'".
        modules: The modules that define it.
        version: Its version.
        apart: Packages of `latent_core` that are no part of it, because what they decide is named elsewhere.

    Returns:
        Nothing for version 1 as shipped, {"version": v} for a later one, {"source": hash} for any other code.

    Raises:
        UserError: If the source of a module cannot be read.
    """
    digests = module_digests(what, modules, apart)
    if all(SOURCES.get(name) == digest for name, digest in digests.items()):
        return {} if version == 1 else {"version": version}
    # Names are left out: a module that has only moved is the same code.
    joined = " ".join(sorted(digests.values()))
    return {"source": hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()}


def module_digests(what: str, modules: Iterable[str], apart: Sequence[str] = ()) -> dict[str, str]:
    """Return the hash of each module that the code of a kind consists of; arguments and errors as of `code_of`."""
    waiting = [name for name in modules if name not in sys.stdlib_module_names]
    tops, folders = _places(waiting)
    digests: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in digests or name in _NO_PART or any(f"{name}.".startswith(f"{one}.") for one in apart):
            continue
        spec = _spec(name)
        source = _source(name, spec)
        if source is None:
            if name not in SOURCES:
                raise UserError(
                    f"{what}: the source of its module {name} cannot be read, so that nobody could tell what the store "
                    "holds from what other code has made; put it into a .py file"
                )
            # Nobody has edited what has no source.
            digests[name] = SOURCES[name]
            continue
        digest, imported = _looked_at(source)
        digests[name] = digest
        waiting += [one for one in _modules_among(imported, name, spec) if _belongs(one, tops, folders)]
    return digests


def defining_modules(entry: object) -> set[str]:
    """Return the modules that define a class, a function, or an object that is made of some."""
    found: dict[int, object] = {}
    waiting = [entry]
    while waiting:
        one = waiting.pop()
        # A function may hold itself.
        if id(one) not in found:
            found[id(one)] = one
            waiting += [part for part in _parts(one) if callable(part)]
    return {module for one in found.values() if (module := _module(one)) is not None}


def _parts(entry: object) -> Iterable[object]:
    """Return what a function or an object calls that it has been given, not imported."""
    if hasattr(entry, "__wrapped__"):
        return [entry.__wrapped__]
    if isinstance(entry, functools.partial):
        return [entry.func, *entry.args, *entry.keywords.values()]
    if isinstance(entry, MethodType):
        return [entry.__func__, type(entry.__self__)]
    if isinstance(entry, FunctionType):
        return [cell.cell_contents for cell in entry.__closure__ or () if _is_filled(cell)]
    if is_dataclass(entry) and not isinstance(entry, type):
        return [getattr(entry, one.name) for one in fields(entry)]
    return []


def _module(entry: object) -> str | None:
    """Return the module whose text an object is, or its class; None where others say it."""
    if hasattr(entry, "__wrapped__") or isinstance(entry, functools.partial | MethodType):
        return None
    return entry.__module__ if isinstance(entry, type | FunctionType) else type(entry).__module__


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # A name that has not been given a value yet.
        return False


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing anything."""
    known = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(known, ModuleSpec):
        return known
    parent, _, _ = name.rpartition(".")
    if parent:
        package = _spec(parent)
        folders = None if package is None else package.submodule_search_locations
        return None if folders is None else PathFinder.find_spec(name, list(folders))
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _source(name: str, spec: ModuleSpec | None) -> str | None:
    """Return a module's source, also out of an archive; None where there is none."""
    get_source = getattr(spec.loader, "get_source", None) if spec is not None else None
    if spec is not None and get_source is not None:
        try:
            source: str | None = get_source(spec.name)
        except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
            return None
        return source
    file = spec.origin if spec is not None else getattr(sys.modules.get(name), "__file__", None)
    if file is None or not str(file).endswith(".py"):
        return None
    try:
        with tokenize.open(file) as opened:
            return opened.read()
    except (OSError, SyntaxError):
        return None


@functools.lru_cache(maxsize=512)
def _looked_at(source: str) -> tuple[str, tuple[tuple[str, int, tuple[str, ...]], ...]]:
    """Return the hash of a source and what it imports: module, level of a relative import, names taken from it."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tree = ast.parse(source)
    code = "\n".join(_code_lines(source, tree))
    return hashlib.blake2b(code.encode(), digest_size=8).hexdigest(), tuple(_imports(tree))


def _code_lines(source: str, tree: ast.Module) -> Iterator[str]:
    """Return the lines of a source without comments, documentation and blank lines."""
    # Not `splitlines`: a form feed or a line separator in a text ends no line of a program.
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    # Places in a tree are in bytes.
    rows = [line.encode() for line in lines]
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            before, behind = rows[first][: node.col_offset], rows[last][node.end_col_offset or 0 :]
            rows[first : last + 1] = [before + behind, *[b""] * (last - first)]
    for line in rows:
        if kept := line.decode().rstrip():
            yield kept


def _imports(tree: ast.AST) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in _TYPES_ONLY:
            for other in node.orelse:
                yield from _imports(ast.Module([other], []))
        elif isinstance(node, ast.Import):
            yield from ((alias.name, 0, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level, tuple(alias.name for alias in node.names)
        else:
            yield from _imports(node)


def _modules_among(
    imported: Iterable[tuple[str, int, tuple[str, ...]]], name: str, spec: ModuleSpec | None
) -> Iterator[str]:
    """Return what may be a module among the names that a module imports."""
    package = (spec.parent if spec is not None else None) or ""
    for module, level, taken in imported:
        if level:
            parts = package.split(".")
            above = ".".join(parts[: len(parts) - level + 1])
            module = f"{above}.{module}".strip(".")
        if module and module != name:
            yield module
        yield from (f"{module}.{one}" for one in taken if one != "*" and module)


def _places(modules: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the packages to which modules belong, and the folders of these that are no folders of libraries."""
    tops, folders = {_OWN}, set()
    for name in modules:
        spec = _spec(name)
        top = (spec.name if spec is not None else name).partition(".")[0]
        tops.add(top)
        folder = _folder(top)
        if folder is not None and not set(PurePath(folder).parts) & set(_LIBRARIES) and folder not in _standard():
            folders.add(folder)
    return tops, folders


def _belongs(name: str, tops: set[str], folders: set[str]) -> bool:
    """Whether a name is that of a module of one of these packages, or beside them in one of these folders."""
    top = name.partition(".")[0]
    if top not in tops and _folder(top) not in folders:
        return False
    return _spec(name) is not None


@functools.lru_cache(maxsize=512)
def _folder(top: str) -> str | None:
    """Return the folder, or the archive, in which a module without dots lies."""
    spec = _spec(top)
    if spec is not None and spec.submodule_search_locations:
        return str(PurePath(next(iter(spec.submodule_search_locations))).parent)
    file = spec.origin if spec is not None else getattr(sys.modules.get(top), "__file__", None)
    return None if file in (None, "built-in", "frozen") else str(PurePath(str(file)).parent)


@functools.cache
def _standard() -> frozenset[str]:
    return frozenset(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def calling_module() -> str:
    """Return the module whose code registers something: that of the first caller that is no registry's function."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", "__main__"))
        if not (name.startswith(f"{_OWN}.") and frame.f_code.co_name.startswith("register")):
            return name
        frame = frame.f_back
    return "__main__"
