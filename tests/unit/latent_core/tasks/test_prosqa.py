"""ProsQA, downloaded by the real library from a server of this test's own."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from latent_core.errors import UserError
from latent_core.tasks import prosqa
from latent_core.tasks.loading import load_task

ROW = {
    "question": "Every zumpus is a yimpus. Tom is a zumpus. Is Tom a yimpus or gorpus?",
    "steps": ["Tom is a zumpus.", "Every zumpus is a yimpus."],
    "answer": "Tom is a yimpus.",
    "idx_to_symbol": ["Tom", "zumpus", "yimpus", "gorpus"],
    "edges": [[0, 1], [1, 2]],
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    """Publishes a test split, and stands in for its authors' server."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "prosqa_test.json").write_text(json.dumps([ROW, ROW]))
    handler = functools.partial(_Quiet, directory=str(tmp_path / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(prosqa, "_FOLDER", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_it_is_downloaded_once(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    task = load_task(name="prosqa")
    assert task.name == "prosqa/test"
    first = task.problems[0]
    assert first.steps == tuple(ROW["steps"])
    assert first.is_correct(first.canonical("tom is a  yimpus"))
    assert not first.is_correct(first.canonical("Tom is a gorpus."))
    (tmp_path / "data" / "prosqa_test.json").unlink()
    assert load_task(name="prosqa").fingerprint == task.fingerprint


def test_what_cannot_be_had_is_one_line(server: http.server.ThreadingHTTPServer) -> None:
    with pytest.raises(UserError, match=r"prosqa_valid\.json cannot be downloaded \(.+\); fetch it .* task\.path"):
        load_task(name="prosqa", split="valid")
    with pytest.raises(UserError, match="unknown split 'all'; use one of train, valid, test"):
        load_task(name="prosqa", split="all")
