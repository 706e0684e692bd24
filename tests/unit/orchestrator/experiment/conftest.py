"""What a run with a LatentRM is made of."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from scored_plans import GAUSSIAN, QUESTIONS, Copy


@pytest.fixture
def copy(tiny_reward_checkpoint: Path, tmp_path: Path) -> Copy:
    """Makes copies of the tiny LatentRM that may be spoilt."""
    count = iter(range(100))
    return lambda: Path(shutil.copytree(tiny_reward_checkpoint, tmp_path / f"copy{next(count)}"))


@pytest.fixture
def content(tiny_checkpoint: Path, tiny_reward_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """A configuration with three questions, a scorer and an empty store."""
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": text, "answer": "1"} for text in QUESTIONS]))
    return {
        "checkpoint": str(tiny_checkpoint),
        "task": {"path": str(data)},
        "sampler": GAUSSIAN,
        "budgets": [1, 4],
        "answer_tokens": 8,
        "micro_batch": 2,
        "store": {"path": str(tmp_path / "store")},
        "scorer": {"checkpoint": str(tiny_reward_checkpoint)},
    }
