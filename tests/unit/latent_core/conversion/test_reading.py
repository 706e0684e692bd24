"""Weights are read from safetensors; pickles only where that is allowed, and only tensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from latent_core.conversion.reading import read_source
from latent_core.errors import UserError

ONE = {"a": torch.ones(2)}


def refused(source: Path | str, allow_pickle: bool = True) -> str:
    with pytest.raises(UserError) as caught:
        read_source(str(source), allow_pickle)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {source}: ")
    return message.removeprefix(f"checkpoint {source}: ")


@pytest.mark.parametrize("name", ["checkpoint_33", "model.bin", "model.pt"])
def test_a_pickle_has_to_be_allowed(tmp_path: Path, name: str) -> None:
    torch.save(ONE, tmp_path / name)
    said = f"{name} is pickled, and reading a pickle can run code; if you trust its author, add --allow-pickle"
    assert refused(tmp_path / name, allow_pickle=False) == said
    assert torch.equal(read_source(str(tmp_path / name), True).tensors["a"], ONE["a"])


def test_a_pickle_in_a_directory(tmp_path: Path) -> None:
    torch.save(ONE, tmp_path / "pytorch_model.bin")
    torch.save({}, tmp_path / "other.pt")
    assert "pytorch_model.bin is pickled" in refused(tmp_path, allow_pickle=False)
    assert [*read_source(str(tmp_path), True).tensors] == ["a"]


class Evil:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (Path.touch, (Path("ran"),))  # type: ignore[return-value]


def test_even_an_allowed_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "file")
    assert "holds objects besides tensors, which could run code" in refused(tmp_path / "file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "file holds no state_dict, but a list"),
        (torch.ones(1), "file holds no state_dict, but a Tensor"),
        ({"model": ONE}, "file holds a dict under 'model', where a state_dict has a tensor"),
        ({"epoch": 3, **ONE}, "file holds a int under 'epoch'"),
        ({1: torch.ones(1)}, "file holds a Tensor under 1"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "file")
    assert message in refused(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"], ids=["empty", "text", "cut off"])
@pytest.mark.parametrize("name", ["file", "file.safetensors"])
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    said = refused(tmp_path / name)
    assert "cannot be read" in said or "are damaged" in said


def test_shards_and_files_that_are_no_weights(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "two.safetensors")
    save_file({"c": torch.ones(1)}, tmp_path / "copy.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert sorted(read_source(str(tmp_path), False).tensors) == ["a", "b"]
    index.write_text("{")
    assert "model.safetensors.index.json cannot be read" in refused(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    assert "names weights in gone.safetensors, which is not there" in refused(tmp_path)


def test_a_directory_of_which_nobody_knows_which_file_is_meant(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "optimizer.pt")
    assert refused(tmp_path) == "the directory has no weights; name the file that holds them"
    torch.save(ONE, tmp_path / "a.pt")
    assert [*read_source(str(tmp_path), True).tensors] == ["a"]
    torch.save(ONE, tmp_path / "b.pt")
    assert "several files that may be weights (a.pt, b.pt); name the file" in refused(tmp_path)


def test_pickles_on_the_hub_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latent_core.conversion.reading.locate", lambda name: tmp_path)
    assert "pickled ones are never downloaded" in refused("owner/name")


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such directory, and not a hub id" in refused("checkpoint_0")
    assert refused("/nowhere/at/all") == "no such directory, and not a hub id (owner/name) or bundled:NAME"
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert refused("runs/checkpoint_0") == "there is no checkpoint_0 in runs"


def test_numbered_parts_without_an_index(tmp_path: Path) -> None:
    """All of them are one whole; other files beside each other are nobody knows what."""
    for number in (1, 2):
        save_file({f"part {number}": torch.ones(1)}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    assert sorted(read_source(str(tmp_path), False).tensors) == ["part 1", "part 2"]
    (tmp_path / "model-00002-of-00002.safetensors").rename(tmp_path / "projector.safetensors")
    said = refused(tmp_path)
    assert said.startswith("the directory has several files that may be weights (model-00001-of-00002.safetensors, pro")


def test_files_beside_the_weights_are_named(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "ema.safetensors")
    torch.save(ONE, tmp_path / "optimizer.pt")
    read = read_source(str(tmp_path), False)
    assert [*read.tensors] == ["a"]
    assert read.notes == ("not read: ema.safetensors",)
