"""README and pages: links lead somewhere, named code exists, shown commands are understood."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import click
import pytest

from orchestrator.cli import latentswarm

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
MOST_BYTES = 15_000
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = "benchmarks|deploy|docs|findings|latent_core|orchestrator|tests|tune_configs|workers"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./{{}},*-]*")
MODULE = re.compile(r"\b(?:benchmarks|latent_core|orchestrator|workers)(?:\.[A-Za-z_]\w*)+\b(?!/)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
WITH_OTHER_NAMES = ("CHANGELOG.md", "clusters.md", "tasks.md")
"""Pages with names that are gone, or that other programs have."""
NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:\(\))?")
FILE_NAME = re.compile(r"\w+\.(?:py|md|toml)")
COMMAND = re.compile(r"(?:^|\s)(?:latentswarm|python -m orchestrator) (\S.*)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) < MOST_BYTES, "move something to a page of docs/"


@each_page
def test_links_and_anchors_exist(page: Path) -> None:
    dead = []
    for target in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            dead.append(target)
    assert dead == []


@each_page
def test_paths_of_code_exist(page: Path) -> None:
    named = {path.rstrip(".,") for code in _codes(page) for path in PATH.findall(code)}
    assert sorted(path for path in named if not all(_exists(one) for one in _alternatives(path))) == []


@each_page
def test_modules_exist(page: Path) -> None:
    named = {module for code in _codes(page) for module in MODULE.findall(code)}
    assert sorted(module for module in named if not _is_known(module)) == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in WITH_OTHER_NAMES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_names_and_files_exist_somewhere(page: Path) -> None:
    """Whoever searches for a name in backticks finds it in the source."""
    unknown = []
    for code in CODE.findall(_prose(page)):
        if FILE_NAME.fullmatch(code):
            if code not in _file_names():
                unknown.append(code)
        elif (name := NAME.fullmatch(code)) and name.group(1) not in _words():
            unknown.append(code)
    assert unknown == []


@each_page
def test_names_that_examples_import_exist(page: Path) -> None:
    for language, block in _blocks(page):
        if language == "python":
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = importlib.import_module(node.module)
                    assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@each_page
def test_commands_are_understood(page: Path) -> None:
    for command in _commands(page):
        _parse([word.replace("$PWD", str(ROOT)) for word in command])  # As the reader's shell does.


@each_page
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for code in _codes(page) for name in re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)}
    assert named <= targets


def test_the_checks_find_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page, and `code`\n[a](#a-page-and-code) [b](#b) [c](nowhere.md)\n"
        "`orchestrator/nowhere.py` `latent_core/{samplers,tasks}/` `latent_core.nowhere` `make nothing`\n"
        "```\nlatentswarm run CONFIG \\\n    --nothing   # a remark\n```\n",
        encoding="utf-8",
    )
    for check in (
        test_links_and_anchors_exist,
        test_paths_of_code_exist,
        test_modules_exist,
        test_targets_of_make_exist,
    ):
        with pytest.raises(AssertionError):
            check(page)
    assert _anchors(page) == {"a-page-and-code"}
    assert _commands(page) == [["run", "CONFIG", "--nothing"]]
    with pytest.raises(AssertionError):
        test_commands_are_understood(page)


def _parse(arguments: list[str]) -> None:
    name, *rest = arguments
    assert name in latentswarm.commands
    try:
        latentswarm.commands[name].make_context(name, rest)
    except click.UsageError as error:
        raise AssertionError(error.format_message()) from error


def _blocks(page: Path) -> list[tuple[str, str]]:
    return [(language, block) for _, language, block in FENCE.findall(page.read_text(encoding="utf-8"))]


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _codes(page: Path) -> Iterator[str]:
    yield from CODE.findall(_prose(page))
    yield from (block for _, block in _blocks(page))


def _commands(page: Path) -> list[list[str]]:
    """The arguments of each command of `latentswarm` in a block of a shell."""
    lines = [
        line
        for language, block in _blocks(page)
        if language in ("", "bash", "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    found = (COMMAND.search(line) for line in lines)
    return [shlex.split(command.group(1), comments=True) for command in found if command]


@cache
def _sources() -> tuple[Path, ...]:
    folders = ("benchmarks", "latent_core", "orchestrator", "tests", "tune_configs", "workers")
    found = (
        file for folder in folders for ending in ("py", "yaml", "json") for file in (ROOT / folder).rglob(f"*.{ending}")
    )
    return (*found, ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "runtime_env.yaml")


@cache
def _file_names() -> frozenset[str]:
    return frozenset(file.name for file in (*_sources(), *PAGES))


@cache
def _words() -> frozenset[str]:
    texts = (file.read_text(encoding="utf-8") for file in _sources() if file != Path(__file__))
    return frozenset(word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text))


@cache
def _anchors(file: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _prose(file), re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles)


def _alternatives(path: str) -> list[str]:
    """What `a/{b,c}` stands for."""
    parts = re.split(r"\{([^}]*)\}", path)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(choice) for choice in product(*choices)]


def _exists(path: str) -> bool:
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


def _is_known(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    module = ROOT.joinpath(*name.split("."))
    if module.with_suffix(".py").is_file() or module.is_dir():
        return True
    parent, _, attribute = name.rpartition(".")
    file = ROOT.joinpath(*parent.split("."))
    source = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return source.is_file() and re.search(rf"\b{attribute}\b", source.read_text(encoding="utf-8")) is not None
