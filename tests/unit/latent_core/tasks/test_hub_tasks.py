"""Well-known benchmarks, read by the real library from directories that look like theirs on the hub."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from latent_core.tasks import hub_tasks
from latent_core.tasks.loading import TASKS, load_task

GSM8K_ANSWER = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 1,072"


@dataclass(frozen=True)
class OnTheHub:
    """How a data set lies on the hub.

    Attributes:
        hub: Its id.
        row: A row as it stands there.
        splits: Its splits there, each a Parquet file below a folder that the card names; none where `files` has them.
        config: The configuration that the card names; None for a card that says nothing of files.
        files: Files that the library finds by their names.
        question: What is asked.
        answer: The reference answer in its canonical spelling.
    """

    hub: str
    row: Mapping[str, Any]
    splits: Sequence[str] = ("train", "test")
    config: str | None = "default"
    files: Sequence[str] = ()
    question: str = "How many?"
    answer: str = "1072"
    split: str = field(default="test", kw_only=True)


CALC = {
    "id": "x__1",
    "question": "How many?",
    "chain": "<result>1_072</result>",
    "result": "1_072",
    "result_float": 1072.0,
}
ON_THE_HUB = {
    "gsm8k": OnTheHub("openai/gsm8k", {"question": "How many?", "answer": GSM8K_ANSWER}, config="main"),
    "gsm_hard": OnTheHub(
        "reasoning-machines/gsm-hard", {"input": "How many?", "code": "def solution():", "target": 1072.0}, ["train"]
    ),
    "multiarith": OnTheHub("ChilleD/MultiArith", {"question": "How many?", "final_ans": "1072"}),
    "svamp": OnTheHub(
        "ChilleD/SVAMP",
        {"ID": "chal-1", "Body": "Pens.", "Question": "How many?", "Answer": "1072", "Equation": "( 1 + 1071 )"},
        question="Pens. How many?",
    ),
    "gsm_plus": OnTheHub(
        "qintongli/GSM-Plus",
        {"question": "How many?", "solution": "...", "answer": "1072", "perturbation_type": "digit expansion"},
        config=None,
        files=("data/test-00000-of-00001.jsonl", "data/testmini-00000-of-00001.jsonl", "GSM-Plus.json"),
    ),
    "asdiv_a": OnTheHub("MU-NLPC/Calc-asdiv_a", {**CALC, "result_unit": "apples", "grade": 2}, ["test"]),
    "mawps": OnTheHub("MU-NLPC/Calc-mawps", CALC, ["train", "test", "validation"], config="original-splits"),
    "math500": OnTheHub(
        "HuggingFaceH4/MATH-500",
        {"problem": "How much?", "solution": "...", "answer": r"\frac{3}{4}", "level": 2, "unique_id": "test/a/1.json"},
        config=None,
        files=("test.jsonl",),
        question="How much?",
        answer="0.75",
    ),
    "aime24": OnTheHub(
        "HuggingFaceH4/aime_2024",
        {"id": 60, "problem": "How many?", "solution": "...", "answer": "073", "url": "...", "year": "2024"},
        ["train"],
        answer="73",
    ),
    "aime25": OnTheHub(
        "math-ai/aime25",
        {"problem": "How many?", "answer": "70", "id": "0"},
        config=None,
        files=("test.jsonl",),
        answer="70",
    ),
    "amc": OnTheHub(
        "AI-MO/aimo-validation-amc",
        {"id": 0, "problem": "How many?", "answer": 142.0, "url": "..."},
        ["train"],
        answer="142",
    ),
    "amc23": OnTheHub("math-ai/amc23", {"question": "How many?", "answer": "27.0"}, ["test"], answer="27"),
    "prontoqa": OnTheHub(
        "renma/ProntoQA",
        {
            "id": "ProntoQA_1",
            "answer": "B",
            "context": "Jompuses are not shy. Max is a yumpus.",
            "options": ["A) True", "B) False"],
            "question": "Is the following statement true or false? Max is sour.",
            "raw_logic_programs": ["Predicates:"],
        },
        config=None,
        files=("ProntoQA_dev_gpt-4.json",),
        question=(
            "Jompuses are not shy. Max is a yumpus. Is the following statement true or false? Max is sour.\n"
            "(A) True\n(B) False"
        ),
        answer="B",
    ),
    "strategyqa": OnTheHub(
        "ChilleD/StrategyQA",
        {
            "qid": "a",
            "term": "Fish",
            "description": "...",
            "question": "Do fish breathe?",
            "answer": True,
            "facts": "...",
        },
        question="Do fish breathe?",
        answer="yes",
    ),
    "commonsense_qa": OnTheHub(
        "tau/commonsense_qa",
        {
            "id": "a",
            "question": "Where is a pen?",
            "question_concept": "pen",
            "choices": {"label": list("ABCDE"), "text": ["desk", "river", "sun", "soup", "sock"]},
            "answerKey": "A",
        },
        ["train", "validation", "test"],
        question="Where is a pen?\n(A) desk\n(B) river\n(C) sun\n(D) soup\n(E) sock",
        answer="A",
        split="validation",
    ),
}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which the ids of the hub are directories."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for there in ON_THE_HUB.values():
        directory = tmp_path / there.hub
        for name in there.files:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            write(directory / name, [there.row] * 2)
        if there.config is not None:
            files = "".join(f"  - {{split: {split}, path: data/{split}-*}}\n" for split in there.splits)
            (directory / "data").mkdir(parents=True)
            (directory / "README.md").write_text(
                f"---\nconfigs:\n- config_name: {there.config}\n  data_files:\n{files}---\n"
            )
            for split in there.splits:
                pq.write_table(pa.Table.from_pylist([there.row] * 2), directory / "data" / f"{split}-0.parquet")
    return tmp_path


def write(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n" if file.suffix == ".jsonl" else f"[{', '.join(lines)}]")


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_benchmark_is_read_by_its_name(name: str, mirror: Path) -> None:
    there = ON_THE_HUB[name]
    task = load_task(name=name, split=there.split)
    assert task.name == f"{name}/{there.split}"
    first, second = task.problems
    assert first.question == second.question == there.question
    assert first.canonical(first.answer) == there.answer
    assert (first.question_id, second.question_id) == ("0", "1")


def test_splits(mirror: Path) -> None:
    assert len(load_task(name="svamp", split="all").problems) == 4
    assert load_task(name="gsm8k", split="train").name == "gsm8k/train"
    assert len(load_task(name="gsm_plus", split="testmini").problems) == 2
    with pytest.raises(UserError, match="task gsm_hard: unknown split 'train'; use one of test"):
        load_task(name="gsm_hard", split="train")


def test_a_split_whose_answers_are_secret_is_refused(mirror: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_task(name="commonsense_qa")
    assert str(caught.value) == (
        "task commonsense_qa: the answers of split 'test' are not published; use one of train, validation"
    )


def test_questions_of_train_have_their_options(mirror: Path) -> None:
    task = load_task(name="commonsense_qa", split="validation")
    assert task.train_questions is not None
    assert list(task.train_questions()) == [ON_THE_HUB["commonsense_qa"].question] * 2


def test_answers_by_letter_and_by_text_are_the_same_choice(mirror: Path) -> None:
    [problem, _] = load_task(name="prontoqa").problems
    assert [problem.canonical(text) for text in ("B", "(B)", "False", "The answer is False", "True", "maybe")] == [
        *("B", "B", "B", "B", "A"),
        None,
    ]


@pytest.mark.parametrize("written", [None, "None"])
def test_questions_that_cannot_be_answered_are_never_right(written: str | None, mirror: Path) -> None:
    row = ON_THE_HUB["gsm_plus"].row
    file = mirror / "qintongli" / "GSM-Plus" / "data" / "test-00000-of-00001.jsonl"
    write(file, [row, {**row, "answer": written}])
    answered, unanswered = load_task(name="gsm_plus").problems
    assert (answered.answer, unanswered.answer) == ("1072", "None")
    assert unanswered.canonical(unanswered.answer) is None
    assert not any(unanswered.is_correct(unanswered.canonical(text)) for text in ("None", "0", "", "1072"))


def test_a_missing_answer_is_refused_elsewhere(mirror: Path) -> None:
    file = mirror / "math-ai" / "aime25" / "test.jsonl"
    write(file, [{**ON_THE_HUB["aime25"].row, "answer": None}])
    with pytest.raises(UserError, match="row 0 lacks `answer`"):
        load_task(name="aime25")


def test_every_benchmark_is_registered_under_its_id() -> None:
    found = {task.name: task.hub for task in hub_tasks._HUB_TASKS}
    assert found == {name: there.hub for name, there in ON_THE_HUB.items()}
    assert set(ON_THE_HUB) <= set(TASKS)
