"""A checkpoint appears whole or not at all."""

from pathlib import Path

import pytest

from latent_core.conversion import Options, convert
from latent_core.conversion.writing import appearing, check_out
from latent_core.errors import UserError


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UserError, match="the directory is not empty; name another one"):
        convert("bundled:coconut-tiny", tmp_path / "full", Options())
    with pytest.raises(UserError, match="there is a file of that name"):
        check_out(tmp_path / "full" / "file")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty")
    with appearing(tmp_path / "empty") as directory:
        (directory / "file").write_text("whole")
    assert (tmp_path / "empty" / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_nothing_is_left_when_it_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with appearing(tmp_path / "out") as directory:
            (directory / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), appearing(tmp_path / "file" / "out"):
        pass
