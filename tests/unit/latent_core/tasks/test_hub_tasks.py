"""Well-known benchmarks, read by the real library from directories that look like theirs on the hub."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from latent_core.tasks import hub_tasks
from latent_core.tasks.loading import TASKS, load_task

GSM8K_ANSWER = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 1,072"
# Per task: its id, its configuration, its splits on the hub, and a row as it stands there.
ON_THE_HUB: dict[str, tuple[str, str, tuple[str, ...], dict[str, Any]]] = {
    "gsm8k": ("openai/gsm8k", "main", ("train", "test"), {"question": "How many?", "answer": GSM8K_ANSWER}),
    "gsm_hard": (
        "reasoning-machines/gsm-hard",
        "default",
        ("train",),
        {"input": "How many?", "code": "def solution():", "target": 1072.0},
    ),
    "multiarith": ("ChilleD/MultiArith", "default", ("train", "test"), {"question": "How many?", "final_ans": "1072"}),
    "svamp": (
        "ChilleD/SVAMP",
        "default",
        ("train", "test"),
        {"ID": "chal-1", "Body": "Pens.", "Question": "How many?", "Answer": "1072", "Equation": "( 1 + 1071 )"},
    ),
}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which the ids of the hub are directories."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for hub, config, splits, row in ON_THE_HUB.values():
        files = "".join(f"  - {{split: {split}, path: data/{split}-*}}\n" for split in splits)
        (tmp_path / hub / "data").mkdir(parents=True)
        (tmp_path / hub / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n"
        )
        for split in splits:
            pq.write_table(pa.Table.from_pylist([row] * 2), tmp_path / hub / "data" / f"{split}-0.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_benchmark_is_read_by_its_name(name: str, mirror: Path) -> None:
    task = load_task(name=name)
    assert task.name == f"{name}/test"
    first, second = task.problems
    assert first.question == ("Pens. How many?" if name == "svamp" else "How many?")
    assert first.canonical(first.answer) == "1072"
    assert (first.question_id, second.question_id) == ("0", "1")


def test_splits(mirror: Path) -> None:
    assert len(load_task(name="svamp", split="all").problems) == 4
    assert load_task(name="gsm8k", split="train").name == "gsm8k/train"
    with pytest.raises(UserError, match="task gsm_hard: unknown split 'train'; use one of test"):
        load_task(name="gsm_hard", split="train")


def test_every_benchmark_is_registered_under_its_id() -> None:
    assert {task.name: task.hub for task in hub_tasks._HUB_TASKS} == {name: row[0] for name, row in ON_THE_HUB.items()}
    assert set(ON_THE_HUB) <= set(TASKS)
