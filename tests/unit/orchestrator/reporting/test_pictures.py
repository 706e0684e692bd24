"""Pictures are drawn again where they would look otherwise, and only there."""

import json
from pathlib import Path

import pytest

from orchestrator.reporting import pictures
from orchestrator.reporting.artifacts import Artifact, write_artifacts


class Drawn:
    """Artifacts that count how often they are written."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.artifacts = [Artifact(name, self.write) for name in ("a.png", "a.html", "a.csv")]

    def write(self, subject: str, path: Path) -> None:
        self.names.append(path.name)
        path.write_text(f"{path.name} of {subject}")

    def again(self, out: Path, subject: str) -> list[str]:
        self.names.clear()
        files = write_artifacts(self.artifacts, subject, out, pictures.digest(subject.encode()))
        assert {file.name for file in files} == {"a.png", "a.html", "a.csv"}
        assert all(file.read_text().endswith(subject) for file in files)
        return self.names


def test_a_picture_of_the_same_content_is_left_as_it_is(tmp_path: Path) -> None:
    drawn = Drawn()
    assert drawn.again(tmp_path, "one") == ["a.png", "a.html", "a.csv"]
    assert drawn.again(tmp_path, "one") == ["a.csv"]
    assert drawn.again(tmp_path, "two") == ["a.png", "a.html", "a.csv"]


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_picture_that_is_not_as_it_was_drawn_is_drawn_anew(tmp_path: Path, damage: str) -> None:
    drawn = Drawn()
    drawn.again(tmp_path, "one")
    if damage == "removed":
        (tmp_path / "a.png").unlink()
    else:
        (tmp_path / "a.png").write_text("half of it")
    assert drawn.again(tmp_path, "one") == ["a.png", "a.csv"]


@pytest.mark.parametrize("record", ["", "[]", json.dumps({"a.png": 3})])
def test_without_a_record_that_can_be_read_everything_is_drawn(tmp_path: Path, record: str) -> None:
    drawn = Drawn()
    drawn.again(tmp_path, "one")
    (tmp_path / pictures.RECORD).write_text(record)
    assert drawn.again(tmp_path, "one") == ["a.png", "a.html", "a.csv"]


def test_other_drawing_code_draws_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Drawn()
    drawn.again(tmp_path, "one")
    monkeypatch.setattr("orchestrator.reporting.artifacts.drawing_code", lambda: "other")
    assert drawn.again(tmp_path, "one") == ["a.png", "a.html", "a.csv"]


def test_settings_of_matplotlib_are_drawing_code() -> None:
    import matplotlib

    before = pictures.drawing_code.__wrapped__()
    with matplotlib.rc_context({"font.size": 17}):
        assert pictures.drawing_code.__wrapped__() != before
    assert pictures.drawing_code.__wrapped__() == before
