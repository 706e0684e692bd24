"""Local data sets: every layout, and every way in which a file can be wrong."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns
from latent_core.tasks.local import load_local

CURE = "; say by task.columns which columns hold what"
ROWS: list[dict[str, Any]] = [
    {"question": "One?", "answer": "1"},
    {"question": "Two?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2", "steps": ["1+1=2"]},
    {"question": "Many?", "answer": 1234.5, "other": "column"},
    {"question": "None?", "answer": 0},
]


def write(path: Path, rows: list[Any]) -> str:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) if path.suffix == ".jsonl" else json.dumps(rows), encoding="utf-8")
    return str(path)


def refusal(path: str | Path) -> str:
    """The message with which a file is refused: one line that names the key and the file."""
    with pytest.raises(UserError) as caught:
        load_local(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"task.path {path}: ")
    return message.removeprefix(f"task.path {path}: ")


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_both_layouts_give_the_same_task(tmp_path: Path, name: str) -> None:
    task = load_local(write(tmp_path / name, ROWS))
    assert task.name == "set"
    assert task.guess_chances is None
    assert [problem.question for problem in task.problems] == ["One?", "Two?", "Many?", "None?"]
    assert [problem.answer for problem in task.problems] == ["1", "2", "1234.5", "0"]
    assert [problem.question_id for problem in task.problems] == ["0", "1", "2", "3"]
    assert [problem.steps for problem in task.problems] == [(), ("1+1=2",), (), ()]


def test_ids_of_the_file_are_used(tmp_path: Path) -> None:
    rows = [{"id": f"gsm8k-{index}", **row} for index, row in enumerate(ROWS)]
    task = load_local(write(tmp_path / "set.jsonl", rows))
    assert [problem.question_id for problem in task.problems] == ["gsm8k-0", "gsm8k-1", "gsm8k-2", "gsm8k-3"]


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text("\n" + "\n\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    assert len(load_local(str(file)).problems) == len(ROWS)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_unicode_line_separators_inside_a_text_end_no_row(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "set.jsonl"
    write(file, [{"question": f"One?{separator}Really?", "answer": "1"}])
    [problem] = load_local(str(file)).problems
    assert problem.question == f"One?{separator}Really?"


def test_a_home_directory_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "set.json", ROWS)
    assert len(load_local("~/set.json").problems) == len(ROWS)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere.json") == "no such file"
    assert refusal(tmp_path) == "no such file"


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"], ids=["cut off", "empty", "binary"])
def test_not_json(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "set.json"
    file.write_bytes(content)
    assert refusal(file).startswith("not valid JSON: ")


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text('{"question": "One?", "answer": "1"}\n\n{"question": "Two?", "answer"\n')
    message = refusal(file)
    assert message.startswith("not valid JSONL: ")
    assert "line 3" in message


def test_not_a_list(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"data": ROWS}))
    assert refusal(file) == "expected a list of rows, found dict"


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_no_rows(tmp_path: Path, name: str) -> None:
    assert refusal(write(tmp_path / name, [])) == "the data set is empty"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "1"}, f"row 2 lacks `question` (it has answer){CURE}"),
        ({"question": "?"}, f"row 2 lacks `answer` (it has question){CURE}"),
        ({"question": None, "answer": "1"}, "row 2 lacks `question` (it has question, answer)"),
        ({"question": " ", "answer": "1"}, "row 2 lacks `question` (it has question, answer)"),
        ({"question": "?", "answer": ""}, "row 2 lacks `answer` (it has question, answer)"),
        (
            {"Question": "?", "Answer": "1"},
            "row 2 lacks `question` (it has Question, Answer); say by task.columns which columns hold what",
        ),
        ({}, f"row 2 lacks `question` (it has no columns){CURE}"),
        ([], "row 2 is not an object with `question` and `answer`"),
        ("text", "row 2 is not an object with `question` and `answer`"),
    ],
)
@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_a_bad_row_is_named(tmp_path: Path, name: str, row: Any, message: str) -> None:
    assert refusal(write(tmp_path / name, [*ROWS[:2], row, *ROWS[2:]])) == message


def test_an_answer_that_ends_with_its_mark_is_no_answer(tmp_path: Path) -> None:
    rows = [{"question": "One?", "answer": "1 + 1 = 2 ####"}]
    assert refusal(write(tmp_path / "set.json", rows)).startswith("row 0 lacks `answer`")


def test_repeated_ids(tmp_path: Path) -> None:
    rows = [{"id": name, **row} for name, row in zip("abca", ROWS, strict=True)]
    assert refusal(write(tmp_path / "set.json", rows)).startswith("the `id` column repeats itself")


def test_an_id_that_is_null_is_like_none(tmp_path: Path) -> None:
    rows = [{"id": None, **row} for row in ROWS]
    task = load_local(write(tmp_path / "set.json", rows))
    assert [problem.question_id for problem in task.problems] == ["0", "1", "2", "3"]


def test_a_parquet_file_gives_the_same_task(tmp_path: Path) -> None:
    rows = [{"question": row["question"], "answer": str(row["answer"]), "steps": row.get("steps")} for row in ROWS]
    file = tmp_path / "set.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    table, plain = load_local(str(file)), load_local(write(tmp_path / "set.json", ROWS))
    assert table == plain
    assert table.fingerprint == plain.fingerprint


def test_a_parquet_file_that_is_none_or_lacks_columns(tmp_path: Path) -> None:
    file = tmp_path / "set.parquet"
    file.write_bytes(b"PAR1")
    assert refusal(file).startswith("not valid Parquet: ")
    pq.write_table(pa.table({"q": ["?"], "answer": ["1"]}), file)
    assert refusal(file) == "row 0 lacks `question` (it has q, answer); say by task.columns which columns hold what"
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), file)
    assert refusal(file) == "the data set is empty"


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_columns_of_the_file(tmp_path: Path, suffix: str) -> None:
    rows = [{"Body": "Two pens.", "Question": "How many?", "Answer": "2"}]
    file = tmp_path / f"set.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        write(file, rows)
    [problem] = load_local(str(file), Columns(question=("Body", "Question"), answer="Answer")).problems
    assert (problem.question_id, problem.question, problem.answer) == ("0", "Two pens. How many?", "2")
    with pytest.raises(UserError) as caught:
        load_local(str(file), Columns(question=("Body", "question")))
    assert str(caught.value) == (
        f"task.path {file}: no column `question`; it has Body, Question, Answer (set task.columns)"
    )


def test_the_fingerprint_of_a_file_does_not_change(tmp_path: Path) -> None:
    """What is stored of runs on somebody's file is found by it."""
    assert load_local(write(tmp_path / "set.json", ROWS)).fingerprint == "f5840d12d2fed3c5"


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_single_precision_references_are_the_decimals_they_were_written_as(tmp_path: Path, kind: pa.DataType) -> None:
    file = tmp_path / "set.parquet"
    answers = np.array([0.1, 2.5, 1234.0, np.nan], dtype=kind.to_pandas_dtype())
    pq.write_table(pa.table({"question": list("abc"), "answer": pa.array(answers[:3], kind)}), file)
    problems = load_local(str(file)).problems
    assert [problem.canonical(problem.answer) for problem in problems] == ["0.1", "2.5", "1234"]
    pq.write_table(pa.table({"question": list("abcd"), "answer": pa.array(answers, kind)}), file)
    assert refusal(file).startswith("row 3: `answer` is nan")


def test_binary_columns_of_parquet_are_text(tmp_path: Path) -> None:
    file = tmp_path / "set.parquet"
    table = {"question": pa.array([b"Zw\xc3\xb6lf?"], pa.binary()), "answer": pa.array([b"12"], pa.binary())}
    pq.write_table(pa.table(table), file)
    [problem] = load_local(str(file)).problems
    assert (problem.question, problem.answer) == ("Zwölf?", "12")


@pytest.mark.parametrize(("name", "separator"), [("s.csv", ","), ("s.csv", ";"), ("s.csv", "|"), ("s.tsv", "\t")])
def test_separated_text(tmp_path: Path, name: str, separator: str) -> None:
    file = tmp_path / name
    rows = [["question", "answer", "other"], ["One, or; two|three?", "1", ""], ['Say "x"\nagain', "2,000", "c"]]
    with file.open("w", newline="", encoding="utf-8-sig") as opened:
        csv.writer(opened, delimiter=separator).writerows(rows)
    problems = load_local(str(file)).problems
    assert [(problem.question, problem.answer) for problem in problems] == [tuple(row[:2]) for row in rows[1:]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question;answer\n1;2\n3;4;5\n", "no separator parts all its lines alike; with ';': line 3 has 3 cells, and "),
        ("question\nOne?\n", "no separator parts all its lines alike; with ',': the first line has one cell"),
        ("question,answer\n'a,'b',1\n", "no separator parts all its lines alike; with ',': line 2 has 3 cells"),
        ('question,answer\n"a,1\n', "no separator parts all its lines alike; with ',': unexpected end of data"),
        ("answer,answer\na,1\n", "no separator parts all its lines alike; with ',': a column's name stands twice"),
        ("a,b;c\n1,2;3\n", "several separators part its lines alike; name its columns by task.columns"),
        ("", "no separator parts all its lines alike; with "),
        ("question,answer\n", "the data set is empty"),
        ("question,answer\nOne?,\n", "row 0 lacks `answer` (it has question, answer)"),
        ("q,answer\nOne?,1\n", "row 0 lacks `question` (it has q, answer); say by task.columns which columns hold "),
    ],
)
def test_separated_text_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "set.csv").write_text(text)
    assert refusal(tmp_path / "set.csv").startswith(message)


def test_a_separated_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_bytes("question,answer\nZwölf?,12\n".encode("latin-1"))
    assert refusal(tmp_path / "set.csv").startswith("cannot be read as UTF-8 text")


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_a_key_that_stands_twice_in_a_row(tmp_path: Path, name: str) -> None:
    row = '{"question": "One?", "answer": 1, "answer": 2}'
    (tmp_path / name).write_text(row if name.endswith("l") else f"[{row}]")
    assert "has the key 'answer' twice" in refusal(tmp_path / name)


DATA_DIR = Path(os.environ.get("LATENTSWARM_DATA_DIR", Path(__file__).resolve().parents[4].parent / "shared" / "data"))


@pytest.mark.skipif(not DATA_DIR.is_dir(), reason=f"no benchmarks: LATENTSWARM_DATA_DIR ({DATA_DIR}) is no directory")
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("gsm8k_test.json", 1319),
        ("gsm8k_train.jsonl", 7473),
        ("gsm8k_aug_valid.json", 500),
        ("gsm_hard.json", 1318),
        ("multiarith.json", 580),
        ("svamp.json", 1000),
    ],
)
def test_every_reference_answer_of_the_benchmarks_is_read_and_meets_itself(name: str, rows: int) -> None:
    if not (DATA_DIR / name).is_file():
        pytest.skip(f"no {name} in {DATA_DIR}")
    problems = load_local(str(DATA_DIR / name)).problems
    assert len(problems) == rows
    unreadable = [problem.answer for problem in problems if not problem.is_correct(problem.canonical(problem.answer))]
    assert unreadable == []
