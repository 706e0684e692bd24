"""Training metrics of a policy in MLflow, in `updates.csv` and on the terminal; step = update."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from latent_core.policy.accuracy import MEASURES
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.console import say
from orchestrator.files import write_csv
from orchestrator.tracking.training import TrainingTracking

UPDATES_FILE = "updates.csv"


class PolicyTracking(TrainingTracking):
    """The MLflow run of a policy: a point per update and metric, and a line on the terminal per validation."""

    def __init__(self, config: TrainPolicyConfig, out: Path, params: dict[str, Any], console: Console) -> None:
        """Open the run, or find it again."""
        super().__init__(config.tracking, out, params, console)
        self._out, self._samples, self._seen = out, config.validation.samples, -1

    def follow(self, file: Path) -> None:
        """Log, write and print what is new in the history."""
        if not file.is_file():
            return
        history = json.loads(file.read_text(encoding="utf-8"))
        new = [entry for entry in history if entry["update"] > self._seen]
        if not new:
            return
        # Those that an earlier command has logged are not logged again.
        for entry in new:
            points = [(name, value, int(entry["update"])) for name, value in entry["numbers"].items()]
            self.tracker.log(self.name, points)
            if "quality" in entry or "diverged" in entry:
                say(self.console, progress_line(entry, self._samples))
        self._seen = int(new[-1]["update"])
        write_updates(history, self._out / UPDATES_FILE)


def write_updates(history: list[dict[str, Any]], file: Path) -> None:
    """Write `updates.csv`: a row per update, empty where something was not measured; the first row is the start."""
    names = dict.fromkeys(name for entry in history for name in entry["numbers"])
    ordered = sorted(names, key=lambda name: "/" in name)
    columns = ["update", *(name.replace("/", "_") for name in ordered)]
    rows = [[entry["update"], *(entry["numbers"].get(name, "") for name in ordered)] for entry in history]
    write_csv(file, columns, rows)


def progress_line(entry: dict[str, Any], samples: int) -> str:
    """Return what a validation came to, for people."""
    numbers = entry["numbers"]
    words = [f"update {entry['update']}"]
    if "diverged" in entry:
        return f"{words[0]}  the loss is not a number"
    if "reward" in numbers:
        words.append(f"reward {numbers['reward']:.3f}")
    titles = dict(zip(MEASURES, ("greedy", "mean", f"majority@{samples}", f"coverage@{samples}"), strict=True))
    for name, title in titles.items():
        gain = numbers.get(f"validation/{name}_gain")
        more = "" if gain is None else f" ({100 * gain:+.1f})"
        words.append(f"{title} {numbers[f'validation/{name}']:.1%}{more}")
    if "busy/neither" in numbers:
        words.append(f"idle {numbers['busy/neither']:.0%}")
    return "  ".join([*words, f"{entry['seconds']:.0f} s", *(["*"] if entry.get("better") else [])])
