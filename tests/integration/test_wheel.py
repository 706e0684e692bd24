"""The wheel in an environment of its own, away from the checkout: a configuration to begin with, and a sweep."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import environment

ROOT = Path(__file__).parents[2]


def done(
    *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git knows: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    files = done("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    built = done(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    assert built.returncode == 0, built.stderr
    [file] = folder.glob("latentswarm-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel; what it requires comes from the one that tests run in."""
    folder = tmp_path_factory.mktemp("environment")
    assert done(sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    python = folder / "bin" / "python"
    pip = done(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel)
    assert pip.returncode == 0, pip.stderr
    packages = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # A line with a path is no editable installation: the checkout is not found through it.
    (Path(packages) / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


def test_what_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("latent_core", "workers", "orchestrator"):
        assert f"{package}/py.typed" in names
    schemas = {file.name for file in (ROOT / "orchestrator" / "config" / "schemas").glob("*.json")}
    assert {Path(name).name for name in names if name.startswith("orchestrator/config/schemas/")} == schemas
    shipped = {Path(name).name for name in names if "/tune_configs/" in name}
    assert shipped == {file.name for file in (ROOT / "tune_configs").glob("*.yaml")}
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "tune_configs/"))]
    data = {name for name in names if name.startswith("latent_core/bundled/")}
    bundled = ROOT / "latent_core" / "bundled"
    assert data == {str(file.relative_to(ROOT)) for file in bundled.rglob("*") if file.is_file()}


def test_a_sweep_of_the_demo_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    variables["PATH"] = os.pathsep.join([str(installed / "bin"), variables["PATH"]])
    where = done("python", "-c", "import orchestrator; print(orchestrator.__file__)", cwd=tmp_path, env=variables)
    assert where.stdout.startswith(str(installed)), where
    first = done("latentswarm", "init", "demo", cwd=tmp_path, env=variables)
    assert first.returncode == 0, first.stderr
    few = ["task.limit=2", "budgets=[1, 2]", "search.beams=[1]"]
    swept = done("latentswarm", "sweep", "demo.yaml", *few, cwd=tmp_path, env=variables)
    assert swept.returncode == 0, swept.stderr
    summary = json.loads((tmp_path / "runs" / "demo" / "summary.json").read_text())
    assert summary["questions"] == 2
    assert (tmp_path / "runs" / "demo" / "curves.png").stat().st_size > 0
