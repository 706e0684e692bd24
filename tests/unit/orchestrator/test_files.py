import csv
import math
from pathlib import Path

import pytest
import yaml
from support import fill, small_disk

from orchestrator.files import append_whole, write_atomically, write_csv, write_json, write_yaml


@pytest.mark.parametrize("content", ["né\n", b"n\xc3\xa9\n"])
def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "file"
    file.write_text("longer than what comes")
    write_atomically(file, content)
    assert file.read_bytes() == b"n\xc3\xa9\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_former_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("former")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "former"
    assert list(tmp_path.iterdir()) == [file]


def test_json_is_for_people_too(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"b": [1], "a": None})
    assert (tmp_path / "file.json").read_text() == '{\n  "b": [\n    1\n  ],\n  "a": null\n}\n'


def test_yaml_keeps_the_order_of_keys(tmp_path: Path) -> None:
    write_yaml(tmp_path / "file.yaml", {"b": 1, "a": {"c": [1, 2]}})
    text = (tmp_path / "file.yaml").read_text()
    assert text.startswith("b: 1\na:\n")
    assert yaml.safe_load(text) == {"b": 1, "a": {"c": [1, 2]}}


def test_numbers_in_a_table_are_restored_exactly(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, math.inf]
    write_csv(tmp_path / "file.csv", ("name", "value"), (("a, b", value) for value in values))
    with (tmp_path / "file.csv").open(newline="") as stream:
        header, *lines = csv.reader(stream)
    assert header == ["name", "value"]
    assert [(name, float(value)) for name, value in lines] == [("a, b", value) for value in values]
    assert b"\r" not in (tmp_path / "file.csv").read_bytes()


def test_a_full_disk_is_named_with_the_file_and_leaves_the_former_one_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file, log = disk / "file.json", disk / "log"
        write_json(file, "former")
        append_whole(log, b"first\n")
        filler = fill(disk)
        with pytest.raises(OSError, match=f"No space left on device: '{file}'"):
            write_json(file, ["longer"] * 10000)
        with pytest.raises(OSError, match=f"No space left on device: '{log}'"):
            append_whole(log, b"second" * 10000)
        assert file.read_text() == '"former"\n'
        assert log.read_bytes() == b"first\n"
        filler.unlink()
        assert sorted(disk.iterdir()) == [file, log]
        append_whole(log, b"second\n")
        assert log.read_bytes() == b"first\nsecond\n"
