import json
from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from latent_core.tasks.columns import Columns
from latent_core.tasks.loading import TASKS, load_task


def refusal(**settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_task(**settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


@pytest.mark.parametrize(
    "sources",
    [
        {},
        {"name": "word_problems", "path": "x.json"},
        {"name": "word_problems", "hub": "a/b"},
        {"path": "x.json", "hub": "a/b"},
    ],
)
def test_one_source_is_needed(sources: dict[str, str]) -> None:
    assert refusal(**sources) == "task: give exactly one of task.name, task.path and task.hub"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"name": "gsm8k", "columns": Columns()},
            "task.columns: gsm8k has its own columns; it is for data of task.path and task.hub",
        ),
        (
            {"name": "word_problems", "grader": "text"},
            "task.grader: word_problems has its own grader; it is for data of task.path and task.hub",
        ),
        (
            {"name": "gsm8k", "hub_config": "main"},
            "task.hub_config: it says which part of task.hub is meant, and there is no task.hub",
        ),
        (
            {"path": "x.json", "hub_config": "main"},
            "task.hub_config: it says which part of task.hub is meant, and there is no task.hub",
        ),
        (
            {"name": "gsm8k", "count": 3},
            "task.count: gsm8k has the questions it has; use task.limit to keep the first ones",
        ),
        (
            {"path": "x.json", "count": 3},
            "task.count: a data set has the questions it has; use task.limit to keep the first ones",
        ),
        (
            {"hub": "a/b", "count": 3},
            "task.count: a data set has the questions it has; use task.limit to keep the first ones",
        ),
        (
            {"hub": "a/b", "grader": "path_finding"},
            "task.grader: 'path_finding' is no grader for any data set; use one of choice, math, numeric, text, yes_no",
        ),
        ({"name": "word_problems:x"}, "task word_problems:x: word_problems is one task, and has no 'x'"),
        (
            {"name": "reasoning_gym"},
            "task reasoning_gym: name one of its data sets, as in task.name=reasoning_gym:NAME",
        ),
        ({"name": "gsm8k", "split": "dev"}, "task gsm8k: unknown split 'dev'; use one of train, test"),
    ],
)
def test_settings_that_do_not_apply_are_refused(settings: dict[str, Any], message: str) -> None:
    assert refusal(**settings) == message


def test_a_count_reaches_the_task() -> None:
    assert len(load_task(name="word_problems", count=3).problems) == 3


def test_a_file_with_columns_and_a_grader(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"q": "Who?", "a": "Tom."}]))
    [problem] = load_task(path=str(file), columns=Columns(question=("q",), answer="a"), grader="text").problems
    assert problem.is_correct(problem.canonical(" tom"))
