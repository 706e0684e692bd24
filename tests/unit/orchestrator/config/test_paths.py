"""Paths that mean another place than they look."""

from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config
from orchestrator.config.paths import check_path
from orchestrator.config.run import RunConfig

CONFIG = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}}


@pytest.mark.parametrize(
    "path",
    [
        "runs/store",
        "/data/a b",
        "~/store",
        "s3://bucket/runs",
        "file:///data",
        "bundled:coconut-tiny",
        "me/model",
        "Zürich",
    ],
)
def test_paths_as_they_should_be(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "names no place"),
        ("$SCRATCH/store", r"\$SCRATCH is not replaced here; write what it stands for"),
        ("/data/${USER}/x", r"\$\{USER\} is not replaced"),
        ("${oc.env:HOME}/x", r"\$\{oc.env:HOME\} is not replaced"),
        ("s3://bucket/$HOME", r"\$HOME is not replaced"),
        ("file:/abs", "has one slash behind file:; write file://..., or the path alone"),
        ("s3:/bucket/x", "has one slash behind s3:"),
        ("a" * 300, "is too long for a path"),
        ("a/" * 3000, "is too long for a path"),
        ("ü" * 200, "is too long for a path"),
        ("a\0b", "holds what is no text"),
        ("a\udcff", "holds what is no text"),
        ("~nobody-of-that-name/x", "has no home directory to begin with"),
    ],
)
def test_paths_that_would_become_another_place(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_path(path)


def test_a_file_may_have_a_dollar_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_path("cost$a$b.json") == "cost$a$b.json"
    monkeypatch.setenv("a", "1")
    with pytest.raises(ValueError, match=r"\$a is not replaced"):
        check_path("cost$a$b.json")
    Path("cost$a$b.json").touch()
    assert check_path("cost$a$b.json") == "cost$a$b.json"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"checkpoint": "$HOME/x"}, "checkpoint"),
        ({"task": {"path": "$HOME/x"}}, "task.path"),
        ({"task": {"hub": "$HOME/x"}}, "task.hub"),
        ({"scorer": {"checkpoint": "$HOME/x"}}, "scorer.checkpoint"),
        ({"store": {"path": "$HOME/x"}}, "store.path"),
        ({"tracking": {"uri": "sqlite:///$HOME/x"}}, "tracking.uri"),
    ],
)
def test_every_place_of_a_configuration_is_looked_at(change: dict[str, object], key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}: \$HOME is not replaced here"):
        parse_config(RunConfig, {**CONFIG, **change})
