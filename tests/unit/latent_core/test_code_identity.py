"""Which code a kind is: nothing for what was shipped, its version, or a hash of its source."""

import functools
import importlib
import py_compile
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latent_core import code_identity
from latent_core.answers.extractors import last_number
from latent_core.answers.grading import Grader
from latent_core.answers.parsing import canonical_text
from latent_core.code_identity import code_of, defining_modules, module_digests
from latent_core.errors import UserError
from latent_core.registry import Registry
from latent_core.samplers import SAMPLERS
from latent_core.samplers.gaussian import GaussianNoise
from latent_core.shipped import SOURCES

GAUSSIAN = "latent_core.samplers.gaussian"
MINE = '''
"""A sampler of my own."""

from typing import ClassVar

from latent_core.samplers.gaussian import GaussianNoise
from latent_core.samplers.base import register_sampler
from {helpers} import FACTOR


@register_sampler
class Mine(GaussianNoise):
    """Twice as loud."""

    kind: ClassVar[str] = "{kind}"

    def perturb_latent(self, latent, streams, step):
        # From here on, noise.
        return latent + FACTOR * (super().perturb_latent(latent, streams, step) - latent)
'''

Write = Callable[[str, str], None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a user's own modules, from which is imported; what a test has registered is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before, entries = set(sys.modules), dict(SAMPLERS._entries)
    registered_by = dict(SAMPLERS._registered_by)
    code_identity._folder.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    SAMPLERS._entries.clear()
    SAMPLERS._entries.update(entries)
    SAMPLERS._registered_by.clear()
    SAMPLERS._registered_by.update(registered_by)
    code_identity._folder.cache_clear()


def own(folder: Path, mine: str = MINE, helpers: str = "FACTOR = 2.0\n") -> dict[str, Any]:
    """The code of a user's sampler in a module that imports another one."""
    (folder / "my_sampler.py").write_text(mine.format(kind="mine", helpers="my_helpers"))
    (folder / "my_helpers.py").write_text(helpers)
    if "my_sampler" not in sys.modules:
        importlib.import_module("my_sampler")
    return SAMPLERS.code("mine")


def test_what_was_shipped_is_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SAMPLERS.code("gaussian") == {}
    monkeypatch.setattr(GaussianNoise, "version", 2)
    assert SAMPLERS.code("gaussian") == {"version": 2}


@pytest.mark.parametrize("module", [GAUSSIAN, "latent_core.samplers.base", "latent_core.randomness"])
def test_what_was_shipped_and_has_been_edited_is_its_source(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody multiplies the noise by 100 in a checkout, or changes the draws that it is made of."""
    monkeypatch.setitem(SOURCES, module, "0" * 16)  # type: ignore[arg-type]
    found = SAMPLERS.code("gaussian")
    assert set(found) == {"source"}
    assert len(found["source"]) == 16


def test_the_edited_source_itself_counts(folder: Path) -> None:
    plain = Path(str(sys.modules[GAUSSIAN].__file__)).read_text()
    copies = {}
    for name, text in (("same", plain), ("louder", plain.replace("* self.sigma", "* 100 * self.sigma"))):
        (folder / f"{name}.py").write_text(text)
        copies[name] = module_digests("it", [name])[name]
    assert copies["same"] == SOURCES[GAUSSIAN]
    assert copies["louder"] != SOURCES[GAUSSIAN]


def test_another_kind_in_the_same_package_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "latent_core.samplers.mc_dropout", "0" * 16)  # type: ignore[arg-type]
    assert SAMPLERS.code("gaussian") == {}


def test_a_users_own_is_its_source(folder: Path) -> None:
    first = own(folder)
    assert set(first) == {"source"}
    assert own(folder) == first


@pytest.mark.parametrize(
    ("mine", "helpers", "differs"),
    [
        (MINE.replace("latent + FACTOR", "latent + 100 * FACTOR"), "FACTOR = 2.0\n", True),
        (MINE, "FACTOR = 200.0\n", True),
        (MINE.replace("# From here on, noise.", "# And now: noise."), "FACTOR = 2.0\n", False),
        (MINE.replace("Twice as loud.", "Loud."), '"""What is needed."""\n\nFACTOR = 2.0  # loud\n\n\n', False),
        (MINE.replace('"""A sampler of my own."""', '"""A sampler\n\nof my own.\n"""'), "FACTOR = 2.0\n", False),
        (MINE + "\nNAME = '# no comment'\n", "FACTOR = 2.0\n", True),
    ],
    ids=["noise", "helper", "comment", "documentation", "lines", "text"],
)
def test_code_counts_and_words_about_it_do_not(folder: Path, mine: str, helpers: str, differs: bool) -> None:
    assert (own(folder) != own(folder, mine, helpers)) == differs


def test_line_ends_and_odd_characters_do_not_disturb_it(folder: Path) -> None:
    lines = ["'''Words.'''", "A = '\u2028 \x0c # no comment'  # \u2028 a comment", "B = 1", ""]
    digests = {}
    for name, end in (("unix", "\n"), ("windows", "\r\n")):
        (folder / f"{name}.py").write_bytes(end.join(lines).encode())
        digests[name] = module_digests("it", [name])[name]
    (folder / "bare.py").write_text("\n".join(["A = '\u2028 \x0c # no comment'", "B = 1"]))
    assert digests["unix"] == digests["windows"] == module_digests("it", ["bare"])["bare"]


def test_looking_imports_nothing(folder: Path) -> None:
    # A module of kernels may be beyond what this machine can import.
    (folder / "lazy.py").write_text("def f():\n    from my_kernels.fast import anything\n")
    (folder / "my_kernels").mkdir()
    (folder / "my_kernels" / "__init__.py").write_text("raise RuntimeError('no GPU here')\n")
    (folder / "my_kernels" / "fast.py").write_text("raise RuntimeError('no GPU here')\n")
    assert set(module_digests("it", ["lazy"])) == {"lazy", "my_kernels.fast"}


def test_what_it_does_not_import_does_not_count(folder: Path) -> None:
    (folder / "other.py").write_text("A = 1\n")
    before = own(folder)
    (folder / "other.py").write_text("A = 2\n")
    assert own(folder) == before


def test_what_it_builds_on_counts(folder: Path) -> None:
    """It adds to what a shipped sampler does: another one would make other rows of it."""
    own(folder)
    digests = module_digests("mine", SAMPLERS.modules("mine"))
    assert {"my_sampler", "my_helpers", GAUSSIAN, "latent_core.samplers.base", "latent_core.randomness"} <= set(digests)
    assert not any(name.startswith(("torch", "typing")) for name in digests)
    # Moving it elsewhere makes no other code of it.
    (folder / "moved.py").write_text((folder / "my_sampler.py").read_text())
    assert code_of("it", ["moved"]) == code_of("it", ["my_sampler"])


def test_a_package_is_followed_by_relative_imports(folder: Path) -> None:
    package = folder / "my_package"
    (package / "deep").mkdir(parents=True)
    for name, text in (
        ("__init__.py", ""),
        ("deep/__init__.py", "from ..far import X\n"),
        ("far.py", "X = 1\n"),
        ("near.py", "from typing import TYPE_CHECKING\nimport my_package.later\nfrom . import deep\n"),
        ("later.py", "def f():\n    from .last import Y\n"),
        ("last.py", "Y = 1\n"),
        ("types.py", "TYPE_CHECKING = False\n"),
        (
            "mine.py",
            "from typing import TYPE_CHECKING\nfrom .near import *\nif TYPE_CHECKING:\n    from . import types\n",
        ),
    ):
        (package / name).write_text(text)
    importlib.import_module("my_package.mine")
    found = {name.removeprefix("my_package.") for name in module_digests("it", ["my_package.mine"])}
    assert found == {"mine", "near", "later", "last", "deep", "far", "my_package"}


def test_a_module_in_an_archive_has_its_source_there(folder: Path) -> None:
    """As the working directory of a Ray job may be."""
    text = MINE.format(kind="zipped", helpers="zipped_helpers")
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("zipped.py", text)
        archive.writestr("zipped_helpers.py", "FACTOR = 2.0\n")
    sys.path.insert(0, str(folder / "code.zip"))
    try:
        importlib.import_module("zipped")
        digests = module_digests("it", ["zipped"])
        code_identity._folder.cache_clear()
        assert {"zipped", "zipped_helpers"} <= set(digests)
        (folder / "unzipped.py").write_text(text)
        assert digests["zipped"] == module_digests("it", ["unzipped"])["unzipped"]
    finally:
        sys.path.remove(str(folder / "code.zip"))


def test_without_source_it_is_refused_in_one_line(folder: Path) -> None:
    (folder / "hidden.py").write_text("X = 1\n")
    py_compile.compile(str(folder / "hidden.py"), cfile=str(folder / "hidden.pyc"))
    (folder / "hidden.py").unlink()
    importlib.import_module("hidden")
    with pytest.raises(UserError, match=r"^sampler 'x': the source of its module hidden cannot be read, .*put it into"):
        code_of("sampler 'x'", ["hidden"])
    typed = types.ModuleType("typed_in")
    sys.modules["typed_in"] = typed
    with pytest.raises(UserError, match=r"^sampler 'x': the source of its module typed_in cannot be read"):
        code_of("sampler 'x'", ["typed_in"])


GRADER = """
from latent_core.answers.grading import GRADERS, Grader
from my_words import ENDING

GRADERS.register("ending", Grader(lambda text: text, lambda question, reference, answer: answer.endswith(ENDING)))
"""


def printed(folder: Path, *arguments: str, **variables: str) -> str:
    """What Python prints that knows the folder and this checkout; nothing here needs torch."""
    root = str(Path(code_identity.__file__).parents[1])
    environment = {"PYTHONPATH": f"{folder}:{root}", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        [sys.executable, *arguments], cwd="/", env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_process_finds_the_same(tmp_path: Path) -> None:
    """Wherever it is started, and whatever its strings hash to."""
    (tmp_path / "my_grader.py").write_text(GRADER)
    (tmp_path / "my_words.py").write_text("ENDING = 'x'\n")
    code = "import my_grader; from latent_core.answers.grading import GRADERS; print(GRADERS.code('ending'))"
    one, other = (printed(tmp_path, "-c", code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert one == other
    assert "source" in one


def test_a_script_is_a_module_too(tmp_path: Path) -> None:
    """`python my_script.py` that registers a grader and calls the command."""
    script = tmp_path / "script.py"
    script.write_text(GRADER + "\nprint(GRADERS.code('ending'))\n")
    outputs = []
    for ending in ("x", "x", "y"):
        (tmp_path / "my_words.py").write_text(f"ENDING = '{ending}'\n")
        outputs.append(printed(tmp_path, str(script)))
    assert outputs[0] == outputs[1] != outputs[2]
    assert "source" in outputs[0]


def test_what_defines_an_object_is_found_through_wrappers() -> None:
    here = __name__

    def spell(text: str | None) -> str | None:
        return text

    def right(question: str, reference: str, answer: str) -> bool:
        return spell(answer) == reference

    assert defining_modules(last_number) == {"latent_core.answers.extractors"}
    assert defining_modules(GaussianNoise) == {GAUSSIAN}
    assert defining_modules(functools.partial(last_number)) == {"latent_core.answers.extractors"}
    assert defining_modules(functools.cache(last_number)) == {"latent_core.answers.extractors"}
    assert defining_modules(Grader(spell, right)) == {here, "latent_core.answers.grading"}
    assert defining_modules(Grader(canonical_text, lambda question, reference, answer: right("", "", answer))) == {
        *(here, "latent_core.answers.grading", "latent_core.answers.parsing")
    }


def test_a_function_that_holds_itself_is_looked_at_once() -> None:
    def forever(text: str) -> str:
        return forever(text)

    assert defining_modules(forever) == {__name__}
    assert defining_modules(SAMPLERS.register) == {"latent_core.registry"}


def test_whoever_registers_an_entry_defines_it_too() -> None:
    things: Registry[object] = Registry("thing", "latent_core.samplers")
    things.register("x", canonical_text)
    assert things.modules("x") == {__name__, "latent_core.answers.parsing"}
    assert SAMPLERS.modules("gaussian") == {GAUSSIAN}
    assert (things.version("x"), SAMPLERS.version("gaussian")) == (1, 1)
    things.register("y", canonical_text, version=3)
    assert things.version("y") == 3
