"""`latentswarm init`: every shipped configuration can be written, and nothing is replaced."""

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import yaml

from orchestrator.cli import main
from orchestrator.config.shipped import SCHEMAS, shipped_configs

ROOT = Path(__file__).parents[4]
NAMES = sorted(file.stem for file in (ROOT / "tune_configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_all_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == NAMES == list(shipped_configs())
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_is_shipped(name: str, tmp_path: Path) -> None:
    assert main(["init", name]) == 0
    written = (tmp_path / f"{name}.yaml").read_text()
    assert "tune_configs/" not in written
    [schema] = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", written, re.MULTILINE)
    assert Path(unquote(urlparse(schema).path)).parent == SCHEMAS
    assert json.loads(Path(unquote(urlparse(schema).path)).read_text())["title"].startswith("latentswarm ")
    assert yaml.safe_load(written) == yaml.safe_load((ROOT / "tune_configs" / f"{name}.yaml").read_text())


def test_commands_in_comments_name_the_file_that_was_written() -> None:
    assert main(["init", "word_problems", "--out", "my own.yaml"]) == 0
    assert "latentswarm sweep 'my own.yaml'" in Path("my own.yaml").read_text()


def test_nothing_is_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    Path("demo.yaml").write_text("mine")
    assert main(["init", "demo"]) == 2
    assert capfd.readouterr().err == "latentswarm: demo.yaml: there is such a file; --out names another\n"
    assert Path("demo.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demi"], "demi: no configuration of this name comes with latentswarm; did you mean 'demo'?"),
        (["demo", "--out", "absent/demo.yaml"], "absent/demo.yaml: cannot be written: No such file or directory"),
    ],
)
def test_wrong_input(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *arguments]) == 2
    assert capfd.readouterr().err == f"latentswarm: {said}\n"
