"""Kinds from outside: named in a configuration, or by an installed package; in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

NOISE = """
from typing import ClassVar

from latent_core.samplers import Sampler, register_sampler


@register_sampler
class Shift(Sampler):
    kind: ClassVar[str] = "shift"

    by: float = 1.0

    def perturb_latent(self, latent, streams, step):
        return latent + self.by
"""

PLAN = """
import sys
from latent_core.errors import UserError
from latent_core.samplers import SAMPLERS
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
try:
    config = parse_config(RunConfig, {
        "checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"},
        "sampler": {"kind": "shift", "by": 2.0}, "plugins": eval(sys.argv[1]),
    })
    print(config.sampler.describe(), SAMPLERS.code("shift"))
except UserError as error:
    print(error)
"""

Planned = Callable[..., str]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """What comes of a configuration with plugins, in a process of its own and another folder."""

    def plan(plugins: object, *folders: Path) -> str:
        path = os.pathsep.join(map(str, [ROOT, *folders]))
        done = subprocess.run(
            [sys.executable, "-P", "-c", PLAN, repr(plugins)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return plan


def test_a_file_brings_a_sampler_and_its_source_is_its_code(planned: Planned, tmp_path: Path) -> None:
    file = tmp_path / "my_noise.py"
    file.write_text(NOISE)
    first = planned(["my_noise.py"])
    assert first.startswith("shift by=2.0 {'source': '")
    assert planned([str(file)]) == first
    file.write_text(NOISE + "\n# A comment is no other code.\n")
    assert planned(["my_noise.py"]) == first
    file.write_text(NOISE.replace("+ self.by", "- self.by"))
    assert planned(["my_noise.py"]) != first


def test_a_module_that_can_be_imported_is_named_as_such(planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "noise.py").write_text(NOISE)
    elsewhere = planned(["package.noise"], tmp_path)
    assert elsewhere.startswith("shift by=2.0 {'source': '")
    # What lies where the command is called needs no path.
    assert planned(["package.noise"]) == elsewhere


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        (["absent.py"], "plugins: absent.py: no such file"),
        (["absent"], "plugins: absent: cannot be imported: ModuleNotFoundError: No module named 'absent'"),
        (["broken.py"], "plugins: broken.py: cannot be imported: ZeroDivisionError: division by zero"),
        (["json.py"], "plugins: json.py: rename it: there is another module 'json', "),
        (["my-noise.py"], "plugins: my-noise.py: rename it: a module's name has letters, digits and underscores"),
        ("broken.py", "plugins: a list of modules and of paths that end in .py, not 'broken.py'"),
        ([1], "plugins: a list of modules and of paths that end in .py, not [1]"),
        (
            ["taken.py"],
            "plugins: taken.py: cannot be imported: ValueError: two entries register the sampler 'gaussian'",
        ),
    ],
)
def test_wrong_input_is_one_line(plugins: object, said: str, planned: Planned, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "taken.py").write_text(NOISE.replace('"shift"', '"gaussian"'))
    for name in ("json.py", "my-noise.py"):
        (tmp_path / name).write_text(NOISE)
    answer = planned(plugins)
    assert answer.startswith(said)
    assert "\n" not in answer


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template package, built and installed into a folder."""
    folder = tmp_path_factory.mktemp("example")
    source = folder / "source"
    for file in (ROOT / "examples" / "plugin").rglob("*"):
        if file.suffix in (".py", ".toml", ".md"):
            target = source / file.relative_to(ROOT / "examples" / "plugin")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "site", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_template_passes_its_own_tests(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", example / "source" / "tests"],
        cwd=example,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(example / "site")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_an_installed_package_that_is_broken_is_named(example: Path, planned: Planned, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    (broken / "broken-1.0.dist-info").mkdir(parents=True)
    (broken / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "broken-1.0.dist-info" / "entry_points.txt").write_text("[latentswarm.samplers]\nbad = broken_kinds\n")
    (broken / "broken_kinds.py").write_text("raise RuntimeError('out of order')\n")
    said = "plugin 'bad' of broken (broken_kinds): cannot be imported: RuntimeError: out of order"
    assert planned([], broken) == said
