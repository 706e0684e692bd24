"""Training metrics in MLflow and on the terminal: workers report through a file, and the driver alone writes."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.console import masked, say
from orchestrator.tracking.server import tracking_uri
from orchestrator.tracking.tracker import Tracker

_LAST_WORDS_SECONDS = 10.0
"""How long a failed training waits for MLflow to be told so."""


class RewardTracking:
    """One MLflow run with the curves of a training; step = update. A resumed training goes on in the same run."""

    def __init__(self, config: TrainRewardConfig, out: Path, params: dict[str, Any], console: Console) -> None:
        """Open the run, or find it again."""
        uri = tracking_uri(config.tracking, out)
        self.tracker = Tracker(uri, config.tracking.experiment, out, out.name, partial(say, console))
        self._name, self._console, self._shown = out.name, console, 0
        self.tracker.start_child(self._name, params)
        self._logged = self.tracker.last_step(self._name, "loss")

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
                say(self._console, _line(entry))
                self._shown = entry["update"]

    def run_id(self) -> str | None:
        """Return MLflow's id of the run, once MLflow has all of it; None where it is away."""
        self.tracker.flush()
        return self.tracker.run_id()

    def conclude(self, final: dict[str, float], best_update: int, files: list[Path]) -> None:
        """Log the final numbers under `final/`, attach the files and close the run."""
        self.tracker.log(self._name, [(f"final/{name}", value, best_update) for name, value in final.items()])
        self.tracker.log_files(files)
        self.tracker.end()
        if left := self.tracker.close():
            text = f"tracking: {left} records have not reached {masked(self.tracker.uri)}; {self.tracker.left()}"
            say(self._console, text)

    def fail(self, status: str) -> None:
        """Close the run as FAILED or KILLED."""
        self.tracker.end(status)
        self.tracker.close(_LAST_WORDS_SECONDS)

    def _log(self, entry: dict[str, Any]) -> None:
        update = int(entry["update"])
        points = [("loss", value, step) for step, value in entry["losses"]]
        points += [(name, value, update) for name, value in entry.get("numbers", {}).items()]
        points.append(("seconds", entry["seconds"], update))
        self.tracker.log(self._name, points)


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
