"""Which run directories belong to a study."""

from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.experiment.study_directory import STUDY_FILE, study_directories, write_study_file


def test_directories(tmp_path: Path) -> None:
    assert study_directories(tmp_path) == [tmp_path]
    write_study_file(tmp_path, {"a b": "a-b", "c": "c"})
    assert study_directories(tmp_path) == [tmp_path / "a-b", tmp_path / "c"]
    (tmp_path / STUDY_FILE).write_text("[]")
    with pytest.raises(UserError, match="cannot be used"):
        study_directories(tmp_path)
