"""`latentswarm config`: the reference of settings in a terminal, as JSON, and with what plugins bring."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from orchestrator.cli import main

PLUGIN = '''
"""A sampler of somebody else."""

from typing import ClassVar

from pydantic import Field

from latent_core.samplers import Sampler, register_sampler


@register_sampler
class Wobble(Sampler):
    """Wobbles.

    Attributes:
        width: How far it goes.
    """

    kind: ClassVar[str] = "wobble"
    width: float = Field(default=0.5, gt=0)
'''


def said(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["config", *arguments]) == code
    captured = capfd.readouterr()
    return captured.err if code else captured.out


def test_a_key_is_explained(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert said(capfd, "sampler.relative").splitlines() == [
        "sampler.relative [gaussian]  (run, sweep, annotate, train-policy)",
        "    Whether sigma is in units of the latent's own root mean",
        "    square instead of absolute. The published settings are",
        "    absolute; relative values carry over between",
        "    checkpoints.",
        "    takes    true or false",
        "    default  false",
        "    since    0.1.0",
        "",
    ]


def test_the_whole_tree_is_listed(capfd: pytest.CaptureFixture[str]) -> None:
    lines = said(capfd).splitlines()
    assert lines[0] == "run, sweep:"
    assert "  search.beams" in {line.split("  [")[0].rstrip() for line in lines}
    assert [line for line in lines if line.startswith("train-rm")] == ["train-rm (as above: tracking, cluster):"]


def test_json_has_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    [key] = json.loads(said(capfd, "seed", "--json"))[:1]
    assert key == {
        "name": "seed",
        "commands": ["run", "sweep", "annotate"],
        "of": "",
        "type": "whole number from 0 to 2^63 - 1",
        "default": "0",
        "description": "Seed of all random draws.",
        "since": "0.1.0",
    }


def test_a_section_as_markdown(capfd: pytest.CaptureFixture[str]) -> None:
    page = said(capfd, "store", "--markdown")
    assert "| `store.path` | text | `runs/store` |" in page
    assert "`sampler.sigma` |" not in page


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["serach"], "unknown key 'serach': did you mean 'search'?"),
        (["--schema", "rum"], "--schema rum: did you mean 'run'?"),
        (["--json", "--markdown"], "--json and --markdown: give one of them"),
        (["seed", "--schema", "run"], "--schema and KEY: give one of them"),
        (["--plugin", "absent.py"], "plugins: absent.py: no such file"),
    ],
)
def test_wrong_input(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert said(capfd, *arguments, code=2) == f"latentswarm: {error}\n"


def test_settings_of_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "wobble.py").write_text(PLUGIN)

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "orchestrator", "config", "--plugin", "wobble.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    [key] = json.loads(printed("sampler.width", "--json"))
    assert (key["of"], key["type"], key["default"]) == ("wobble", "number above 0", "0.5")
    assert key["description"] == "How far it goes."
    schema = json.loads(printed("--schema", "run"))
    config = {"checkpoint": "c", "task": {"name": "gsm8k"}, "sampler": {"kind": "wobble", "width": 1}}
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "sampler": {"kind": "wobble", "widht": 1}}, schema)
