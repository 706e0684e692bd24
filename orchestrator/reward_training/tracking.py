"""How a training is followed: workers report through a file, and the driver writes MLflow and the terminal."""

import json
import time
from pathlib import Path
from typing import Any

import ray.train
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from ray.train import UserCallback
from rich.console import Console

from orchestrator.reward_training.config import TrainRewardConfig
from orchestrator.tracking import Tracker, tracking_uri

HISTORY_FILE = "history.json"
_RUN_FILE = "mlflow.json"


class WriteHistory(UserCallback):
    """Writes what workers report where the driver finds it.

    Ray Train calls it in its controller, a process of its own on the driver's node.
    """

    def __init__(self, file: Path) -> None:
        """Name the file."""
        self._file = file

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: ray.train.Checkpoint | None
    ) -> None:
        """Replace the file; `metrics` holds one dictionary per worker, all with the same history."""
        write_json(self._file, metrics[0]["history"])


class RewardTracking:
    """One MLflow run with the curves of a training; step = update. A resumed training goes on in the same run."""

    def __init__(self, config: TrainRewardConfig, out: Path, params: dict[str, Any]) -> None:
        """Open the run, or find it again."""
        self.tracker = Tracker(tracking_uri(config.tracking, out), config.tracking.experiment, out)
        self._client = MlflowClient(self.tracker.uri)
        self._file, self._name, self._shown = out / _RUN_FILE, out.name, 0
        found, self._logged = self._find(), 0
        if found is None:
            self.run_id = self.tracker.start_child(self._name, params)
            write_json(self._file, {"uri": self.tracker.uri, "run_id": self.run_id})
        else:
            self.run_id = self.tracker.children[self._name] = found
            self._client.update_run(self.run_id, status="RUNNING")
            points = self._client.get_metric_history(self.run_id, "loss")
            self._logged = max((point.step for point in points), default=0)

    def follow(self, file: Path, console: Console) -> None:
        """Log and print the evaluations that are new in the file."""
        if not file.is_file():
            return
        history = json.loads(file.read_text(encoding="utf-8"))
        for entry in history:
            if entry["update"] > self._logged:
                self._log(entry)
                self._logged = entry["update"]
            if entry["update"] > self._shown:
                console.print(_line(entry), highlight=False, soft_wrap=True)
                self._shown = entry["update"]

    def conclude(self, final: dict[str, float], best_update: int, files: list[Path]) -> None:
        """Log the final numbers under `final/`, attach the files and close the run."""
        points = [
            Metric(f"final/{name}", value, _now(), best_update) for name, value in final.items() if value == value
        ]
        self._client.log_batch(self.run_id, metrics=points)
        self.tracker.log_files(files)
        self.tracker.end()

    def fail(self, status: str) -> None:
        """Close the run as FAILED or KILLED."""
        self.tracker.end(status)

    def _find(self) -> str | None:
        if not self._file.is_file():
            return None
        noted = json.loads(self._file.read_text(encoding="utf-8"))
        try:
            return str(self._client.get_run(noted["run_id"]).info.run_id) if noted["uri"] == self.tracker.uri else None
        except MlflowException:
            return None

    def _log(self, entry: dict[str, Any]) -> None:
        update = int(entry["update"])
        points = [("loss", value, step) for step, value in entry["losses"]]
        points += [(name, value, update) for name, value in entry.get("numbers", {}).items()]
        points.append(("seconds", entry["seconds"], update))
        self._client.log_batch(self.run_id, metrics=[Metric(name, value, _now(), step) for name, value, step in points])


def _now() -> int:
    return int(time.time() * 1000)


def write_json(file: Path, content: Any) -> None:
    """Write a file, whole or not at all."""
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)


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
