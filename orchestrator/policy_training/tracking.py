"""Training metrics of a policy in MLflow, in `updates.csv` and on the terminal; step = update."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from latent_core.policy.accuracy import MEASURES
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.console import masked, say
from orchestrator.files import write_csv
from orchestrator.tracking.server import tracking_uri
from orchestrator.tracking.tracker import Tracker

UPDATES_FILE = "updates.csv"
_LAST_WORDS_SECONDS = 10.0
"""How long a failed training waits for MLflow to be told so."""


class PolicyTracking:
    """One MLflow run with the curves of a training. A resumed training goes on in the same run."""

    def __init__(self, config: TrainPolicyConfig, out: Path, params: dict[str, Any], console: Console) -> None:
        """Open the run, or find it again."""
        uri = tracking_uri(config.tracking, out)
        self.tracker = Tracker(uri, config.tracking.experiment, out, out.name, partial(say, console))
        self._out, self._name, self._console = out, out.name, console
        self._samples, self._seen = config.validation.samples, -1
        self.tracker.start_child(self._name, params)

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
            self.tracker.log(self._name, points)
            if "quality" in entry or "diverged" in entry:
                say(self._console, progress_line(entry, self._samples))
        self._seen = int(new[-1]["update"])
        write_updates(history, self._out / UPDATES_FILE)

    def run_id(self) -> str | None:
        """Return MLflow's id of the run, once MLflow has all of it; None where it is away."""
        self.tracker.flush()
        return self.tracker.run_id()

    def conclude(self, final: dict[str, float], best_update: int, files: list[Path]) -> None:
        """Log the numbers of the policy under `final/`, attach the files and close the run."""
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
