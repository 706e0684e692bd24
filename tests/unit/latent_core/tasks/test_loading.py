import json
from pathlib import Path

import pytest

from latent_core.errors import UserError
from latent_core.tasks.loading import TASKS, load_task


def test_a_registered_task_with_its_split() -> None:
    task = load_task(name="word_problems", split="validation")
    assert task.name == "word_problems/validation"
    assert task.fingerprint != load_task(name="word_problems").fingerprint
    assert "word_problems" in list(TASKS)


def test_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"question": "?", "answer": "1"}]))
    assert load_task(path=str(file)).name == "mine"


def test_an_unknown_task() -> None:
    with pytest.raises(UserError, match=r"unknown task 'word_problem': did you mean 'word_problems'\?"):
        load_task(name="word_problem")


def test_an_unknown_split() -> None:
    with pytest.raises(UserError, match="unknown split 'dev' of the word problems: use one of train, validation, test"):
        load_task(name="word_problems", split="dev")


@pytest.mark.parametrize("both", [{}, {"name": "word_problems", "path": "x.json"}])
def test_one_source_is_needed(both: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"exactly one of task\.name and task\.path"):
        load_task(**both)  # type: ignore[arg-type]
