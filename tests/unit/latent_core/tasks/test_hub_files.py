"""Files of data sets in the hub's layout: read as by path, complete, and never from a copy of yesterday."""

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns
from latent_core.tasks.hub import load_hub
from latent_core.tasks.local import load_local

# What readers that guess types take for numbers, dates, truth and nothing; numbers stay numbers.
ANSWERS: list[Any] = ["007", "2020-01-01", "2020-01-01T10:00:00Z", "null", "NA", "1e3", "1.50", "true", 12, "12"]
ROWS = [{"question": f"Which one is number {index}?", "answer": answer} for index, answer in enumerate(ANSWERS)]
TEXTS = [str(answer) for answer in ANSWERS]
COLUMNS = Columns()


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def separated(rows: list[dict[str, Any]], separator: str = ",") -> str:
    return "".join(
        f"{separator.join(map(str, row))}\n" for row in [["question", "answer"], *(r.values() for r in rows)]
    )


def refusal(hub: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_hub(str(hub), grader="text")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"task.hub {hub}")
    return str(caught.value).removeprefix(f"task.hub {hub}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def card(directory: Path, text: str) -> None:
    (directory / "README.md").write_text(f"---\n{text}\n---\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.jsonl", lines(ROWS)),
        ("test.json", json.dumps(ROWS, indent=1)),
        ("test.csv", separated(ROWS)),
        ("test.tsv", separated(ROWS, "\t")),
    ],
)
def test_a_file_is_the_same_task_by_path_and_in_a_directory(tmp_path: Path, name: str, content: str) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / name).write_text(content)
    task = load_hub(str(directory), grader="text")
    by_path = load_local(str(directory / name), grader="text")
    assert [problem.answer for problem in task.problems] == TEXTS
    assert task.problems == by_path.problems
    assert task.fingerprint == by_path.fingerprint


def test_a_split_does_not_take_the_types_of_another(tmp_path: Path) -> None:
    numbers = [{"question": "How many?", "answer": 1}] * 3
    for name, rows in (("train", numbers), ("test", ROWS)):
        (tmp_path / f"{name}.jsonl").write_text(lines(rows))
    task = load_hub(str(tmp_path), grader="text")
    assert [problem.answer for problem in task.problems] == TEXTS
    assert task.train_questions is not None
    assert list(task.train_questions()) == ["How many?"] * 3
    tables = tmp_path / "tables"
    tables.mkdir()
    pq.write_table(pa.table({"question": ["?"], "answer": [1]}), tables / "train.parquet")
    pq.write_table(pa.table({"question": ["?"], "answer": ["007"]}), tables / "test.parquet")
    assert load_hub(str(tables)).problems[0].answer == "007"


def test_files_that_are_compressed_or_described(tmp_path: Path) -> None:
    for name in ("gzip", "zip", "field"):
        (tmp_path / name).mkdir()
    (tmp_path / "gzip" / "test.jsonl.gz").write_bytes(gzip.compress(lines(ROWS).encode()))
    with zipfile.ZipFile(tmp_path / "zip" / "test.zip", "w") as archive:
        archive.writestr("test.jsonl", lines(ROWS))
    # A file of lines that is called .json, a list that is called .jsonl, and a list under a key.
    (tmp_path / "field" / "test.json").write_text(json.dumps({"rows": ROWS}))
    card(tmp_path / "field", "configs:\n- {config_name: default, data_files: test.json, field: rows}")
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "test.json").write_text("\ufeff" + lines(ROWS))
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "test.jsonl").write_text(json.dumps(ROWS))
    for name in ("gzip", "zip", "lines", "list"):
        assert [one.answer for one in load_hub(str(tmp_path / name), grader="text").problems] == TEXTS, name
    described = load_hub(str(tmp_path / "field"), split="train", grader="text")
    assert [problem.answer for problem in described.problems] == TEXTS


def test_slices_and_sums_of_splits(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("test", 4)):
        rows = [{"question": f"{name} {index}", "answer": index} for index in range(count)]
        (tmp_path / f"{name}.jsonl").write_text(lines(rows))
    asked = {
        "test[1:3]": ["test 1", "test 2"],
        "test[:50%]": ["test 0", "test 1"],
        "train[-1:]+test[:1]": ["train 2", "test 0"],
        "all": [*(f"train {index}" for index in range(3)), *(f"test {index}" for index in range(4))],
    }
    for split, questions in asked.items():
        assert [problem.question for problem in load_hub(str(tmp_path), split=split).problems] == questions


@pytest.mark.parametrize("name", ["test.jsonl", "test.txt"])
def test_content_decides_and_not_the_time_of_a_file(tmp_path: Path, name: str) -> None:
    columns = Columns(question=("text",), answer="text") if name == "test.txt" else COLUMNS
    file = tmp_path / "data" / name
    file.parent.mkdir()
    file.write_text('{"question": "old", "answer": "1", "text": "old"}\n')
    os.utime(file, (1e9, 1e9))
    assert "old" in load_hub(str(file.parent), columns=columns, grader="text").problems[0].question
    file.write_text('{"question": "new", "answer": "2", "text": "new"}\n')
    os.utime(file, (1e9, 1e9))
    assert "new" in load_hub(str(file.parent), columns=columns, grader="text").problems[0].question


def test_a_shard_that_is_missing(tmp_path: Path) -> None:
    for shard in range(3):
        (tmp_path / f"test-0000{shard}-of-00003.jsonl").write_text(lines(ROWS))
    assert len(load_hub(str(tmp_path), grader="text").problems) == 30
    (tmp_path / "test-00001-of-00003.jsonl").unlink()
    assert refusal(tmp_path) == (": split test has 2 of 3 files (test-00000-of-00003.jsonl, ...); get the missing ones")
    # One of several shards may be what is meant.
    (tmp_path / "test-00001-of-00003.jsonl").write_text(lines(ROWS))
    card(tmp_path, "configs:\n- config_name: some\n  data_files:\n  - {split: test, path: test-00000-*}")
    assert len(load_hub(str(tmp_path), "some", grader="text").problems) == 10


def test_the_count_in_the_description_is_compared(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(lines(ROWS))
    said = "dataset_info:\n  features:\n  - {name: question, dtype: string}\n  - {name: answer, dtype: string}\n"
    card(tmp_path, f"{said}  splits:\n  - {{name: test, num_examples: 10, num_bytes: 1}}")
    assert [problem.answer for problem in load_hub(str(tmp_path), grader="text").problems] == TEXTS
    card(tmp_path, f"{said}  splits:\n  - {{name: test, num_examples: 1319, num_bytes: 1}}")
    assert refusal(tmp_path) == (
        ": split test has 10 rows in its files, and the data set's own description says 1,319; get all of its "
        "files, or correct `num_examples` in its README.md"
    )


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "?", "answer": "1"}\n{"question": \n')
    assert refusal(tmp_path).startswith(": test.jsonl: not valid JSONL: line 2: ")


def test_a_snapshot_without_the_files_of_other_configurations(tmp_path: Path) -> None:
    first = "- config_name: a\n  data_files:\n  - {split: test, path: a/test-*}"
    card(tmp_path, f"configs:\n{first}\n- config_name: b\n  data_files:\n  - {{split: test, path: b/test-*}}")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "test-0.jsonl").write_text(lines(ROWS))
    assert len(load_hub(str(tmp_path), "b", grader="text").problems) == 10
