"""Training metrics in MLflow and on the terminal: workers report through a file, and the driver alone writes."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.console import say
from orchestrator.tracking.training import TrainingTracking


class RewardTracking(TrainingTracking):
    """The MLflow run of a LatentRM: its losses and evaluations, and a line on the terminal per evaluation."""

    def __init__(self, config: TrainRewardConfig, out: Path, params: dict[str, Any], console: Console) -> None:
        """Open the run, or find it again."""
        super().__init__(config.tracking, out, params, console)
        self._shown, self._logged = 0, self.tracker.last_step(self.name, "loss")

    def follow(self, file: Path) -> None:
        """Log and print the evaluations that are new in the file."""
        if not file.is_file():
            return
        history = json.loads(file.read_text(encoding="utf-8"))
        for entry in history:
            if entry["update"] > self._logged:
                self._log(entry)
                self._logged = entry["update"]
            if entry["update"] > self._shown:
                say(self.console, _line(entry))
                self._shown = entry["update"]

    def _log(self, entry: dict[str, Any]) -> None:
        update = int(entry["update"])
        points = [("loss", value, step) for step, value in entry["losses"]]
        points += [(name, value, update) for name, value in entry.get("numbers", {}).items()]
        points.append(("seconds", entry["seconds"], update))
        self.tracker.log(self.name, points)


def _line(entry: dict[str, Any]) -> str:
    if "diverged" in entry:
        return f"update {entry['update']}  the loss is not a number"
    numbers = entry["numbers"]
    words = [f"update {entry['update']}", f"loss {entry['losses'][-1][1]:.4f}"]
    shown = {"auc": "validation/auc", "auc_answer": "validation/auc_answer", "train auc": "train/auc"}
    words += [f"{label} {numbers[name]:.3f}" for label, name in shown.items() if name in numbers]
    largest = max((name for name in numbers if name.startswith("validation/best_of_n_at_")), key=_budget, default=None)
    if largest is not None:
        words.append(f"best of {_budget(largest)} {numbers[largest]:.1%}")
    return "  ".join([*words, f"{entry['seconds']:.0f} s", *(["*"] if entry["better"] else [])])


def _budget(name: str) -> int:
    return int(name.rsplit("_", 1)[1])
