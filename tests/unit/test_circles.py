"""No module imports, by any way, what imports it: not for types only, and not late in a function either.

Import contracts look at packages and leave out what is imported for types; a circle that hides there is one for whoever
reads the code.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("latent_core", "workers", "orchestrator")
MOST_MODULES = 20
MOST_BESIDE_PACKAGES = 6


def sources() -> dict[str, Path]:
    """Return the files of all modules by their names."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: Mapping[str, object]) -> Iterator[str]:
    """Return the modules that a source imports anywhere; a package where only names are taken from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from {name if name in known else node.module for name in names} & known.keys()


def check(graph: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_modules_import_in_no_circle() -> None:
    files = sources()
    check({name: {*imported(path.read_text("utf-8"), files)} - {name} for name, path in files.items()})


def test_a_circle_that_hides_is_found() -> None:
    files = {"a": "if TYPE_CHECKING:\n    from b import c\n", "b": "", "b.c": "def f():\n    import a\n"}
    graph = {name: {*imported(source, files)} for name, source in files.items()}
    assert graph == {"a": {"b.c"}, "b": set(), "b.c": {"a"}}
    with pytest.raises(pytest.fail.Exception, match=r"a <- b\.c <- a|b\.c <- a <- b\.c"):
        check(graph)


def test_no_folder_is_crowded() -> None:
    modules = Counter(path.parent.relative_to(ROOT) for path in sources().values() if path.name != "__init__.py")
    assert {str(folder): count for folder, count in modules.items() if count > MOST_MODULES} == {}
    assert modules[Path("orchestrator")] <= MOST_BESIDE_PACKAGES
