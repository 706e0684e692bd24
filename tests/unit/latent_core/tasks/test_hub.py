"""Data sets of the hub: the real library on a directory in the hub's layout, on its cache, and on a hub of our own."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns
from latent_core.tasks.hub import load_hub

CARD = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*}
  - {split: test, path: main/test-*}
- config_name: hard
  data_files:
  - {split: test, path: main/test-*}
---
"""
COLUMNS = Columns(question=("Body", "Question"), answer="Answer")
# Loads what its argument lists and prints what came of it. A process of its own, because the library reads the
# environment only once.
PROGRAM = """
import json, sys
from latent_core.errors import UserError
from latent_core.tasks.hub import load_hub
from latent_core.tasks.columns import Columns
assert "datasets" not in sys.modules
for settings in json.loads(sys.argv[1]):
    try:
        columns = Columns(**settings.pop("columns", {}))
        print("RESULT", load_hub(**settings, columns=columns).problems[-1].question)
    except UserError as error:
        print("RESULT", error)
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the hub would hold it, with two configurations."""
    directory = tmp_path_factory.mktemp("hub") / "pens"
    (directory / "main").mkdir(parents=True)
    (directory / "README.md").write_text(CARD)
    for split, rows in (("train", 3), ("test", 2)):
        numbers = [str(number) for number in range(rows)]
        table = {
            "Body": ["Pens."] * rows,
            "Question": [f"{split} {number}?" for number in numbers],
            "Answer": [f"so\n#### {number}" for number in numbers],
            "answer": numbers,
            "uid": [f"{split}-{number}" for number in numbers],
        }
        pq.write_table(pa.table(table), directory / "main" / f"{split}-00000-of-00001.parquet")
    return directory


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def refusal(hub: str | Path, *settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_hub(str(hub), *settings)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"task.hub {hub}")
    return str(caught.value).removeprefix(f"task.hub {hub}")


def test_a_directory_in_the_layout_of_the_hub(layout: Path) -> None:
    task = load_hub(str(layout), "main", "test", COLUMNS)
    assert task.name == "pens/main/test"
    assert [problem.question for problem in task.problems] == ["Pens. test 0?", "Pens. test 1?"]
    assert [problem.answer for problem in task.problems] == ["0", "1"]
    assert [problem.question_id for problem in task.problems] == ["0", "1"]
    named = load_hub(str(layout), "main", "train+test", Columns(question=("Question",), id="uid"), "text", "mine")
    assert (named.name, len(named.problems)) == ("mine", 5)
    assert named.problems[3].question_id == "test-0"
    assert {problem.grader for problem in named.problems} == {"text"}


def test_the_questions_of_train_can_be_asked_for(layout: Path) -> None:
    test = load_hub(str(layout), "main", "test", COLUMNS)
    assert test.train_questions is not None
    assert list(test.train_questions()) == ["Pens. train 0?", "Pens. train 1?", "Pens. train 2?"]
    # Nothing to compare with: there is no such split, or it is what is asked.
    hard = load_hub(str(layout), "hard", "test", COLUMNS)
    assert hard.train_questions is not None
    assert list(hard.train_questions()) == []
    assert load_hub(str(layout), "main", "train[:2]+test", COLUMNS).train_questions is None


def test_what_the_data_set_has_is_listed(layout: Path) -> None:
    assert refusal(layout, "main", "dev", COLUMNS) == (
        ": Unknown split \"dev\". Should be one of ['train', 'test'].; set task.split"
    )
    assert refusal(layout, None, "test", COLUMNS) == (
        ": Config name is missing. Please pick one among the available configs: ['main', 'hard']; set task.hub_config"
    )
    assert refusal(layout, "easy", "test", COLUMNS) == (
        ": BuilderConfig 'easy' not found. Available: ['main', 'hard']; set task.hub_config"
    )
    assert refusal(layout, "main", "test") == (
        ": no column `question`; it has Body, Question, Answer, answer, uid (set task.columns)"
    )


def test_a_directory_without_data_and_what_is_no_id(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(": it cannot be loaded: ")
    for hub in ("pens", str(tmp_path / "nowhere"), "./pens", "a/b/c"):
        assert refusal(hub) == (": no such directory, and not a hub id (owner/name); one file is given by task.path")


def outcomes(settings: list[dict[str, Any]], **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(settings)],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]


def not_downloaded(hub: str, reason: str) -> str:
    return (
        f"task.hub {hub}: the hub did not give it ({reason}), and it has not been downloaded; where the network is, "
        f"run `hf download --repo-type dataset {hub}`, or name a file by task.path"
    )


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled"), ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "ConnectError")],
    ids=["offline", "no network"],
)
def test_without_a_network_the_cache_is_read(
    layout: Path, tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    # As `hf download --repo-type dataset me/pens` leaves it.
    cached = tmp_path / "hub" / "datasets--me--pens"
    shutil.copytree(layout, cached / "snapshots" / ("a" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    found = outcomes(
        [
            {"hub": "me/pens", "config": "main", "split": "train", "columns": {"question": "Question"}},
            {"hub": "me/pens", "config": "main"},
            {"hub": "me/pens", "config": "hard", "split": "dev"},
            {"hub": "me/nothing"},
        ],
        HF_HOME=str(tmp_path),
        **environment,
    )
    assert found == [
        "train 2?",
        "task.hub me/pens: no column `question`; it has Body, Question, Answer, answer, uid (set task.columns)",
        "task.hub me/pens: Unknown split \"dev\". Should be one of ['test'].; set task.split "
        "(read from the cache, since the hub cannot be reached)",
        not_downloaded("me/nothing", reason),
    ]


@pytest.fixture
def empty_hub() -> Iterator[str]:
    """A hub that has nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the output of tests clean."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_id_that_the_hub_does_not_know(tmp_path: Path, empty_hub: str) -> None:
    assert outcomes([{"hub": "me/nothing"}], HF_HOME=str(tmp_path), HF_ENDPOINT=empty_hub, NO_PROXY="*") == [
        "task.hub me/nothing: the hub has no data set of that id, or it is private; "
        "look it up on huggingface.co/datasets, or log in with `hf auth login`"
    ]


def test_a_copy_of_guessed_types_is_not_taken_for_the_files(tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = [{"question": "Which one?", "answer": answer} for answer in ("007", "2020-01-01")]
    source = tmp_path / "pens"
    source.mkdir()
    (source / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    load_dataset(str(source), cache_dir=str(tmp_path / "made"))
    # As `load_dataset("me/pens")` leaves it, and nothing of the files.
    [made] = [file.parent for file in (tmp_path / "made").rglob("dataset_info.json")]
    shutil.copytree(made, tmp_path / "datasets" / "me___pens" / "default" / "0.0.0" / ("b" * 40))
    [said] = outcomes([{"hub": "me/pens"}], HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert said.startswith("task.hub me/pens: the cache has a copy whose texts may have been taken for numbers")
