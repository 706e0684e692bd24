"""How far a labelled set or the training of a LatentRM is: what `status` says of directories without trials."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from orchestrator.config.loading import read_yaml
from orchestrator.console import masked
from orchestrator.experiment.lease import is_alive, read_owner
from orchestrator.experiment.run_directory import (
    POLICY_FOLDER,
    SUMMARY_FILE,
    TRAINING_FILE,
    directory_kind,
    read_work_file,
)
from orchestrator.store.folder import ShardFolder
from orchestrator.store.labels import MANIFEST_FILE, LabelManifest

_HISTORY_FILE = "history.json"


@dataclass(frozen=True)
class WorkStatus:
    """How far a command is that samples no trials.

    Attributes:
        out: Its run directory.
        command: "annotate", "train-rm", "train-policy" or "train-reasoner".
        finished: Whether its result is written.
        done: What of it is there; None where nobody can tell.
        wanted: What is there in the end; None where nobody can tell.
        unit: What is counted.
        running: Who is at work, for people; None where nobody is.
        result: Where the result is, or will be.
    """

    out: Path
    command: str
    finished: bool
    done: int | None
    wanted: int | None
    unit: str
    running: str | None
    result: Path

    def lines(self) -> list[str]:
        """Return what people read."""
        if self.running is not None:
            state = f"running ({self.running})"
        else:
            state = "finished" if self.finished else "unfinished; the same command goes on"
        count = "?" if self.done is None else f"{self.done:,}"
        whole = "" if self.wanted is None else f" of {self.wanted:,}"
        return [
            f"{self.command:<10} {self.out}",
            f"{'state':<10} {state}",
            f"{'done':<10} {count}{whole} {self.unit}",
            f"{'result':<10} {self.result}",
        ]

    def to_json(self) -> str:
        """Return the same as one JSON object."""
        state = "finished" if self.finished else "unfinished"
        content: dict[str, Any] = {
            "out": str(self.out),
            "command": self.command,
            "state": state,
            "running": self.running,
        }
        content |= {"done": self.done, "wanted": self.wanted, "unit": self.unit, "result": str(self.result)}
        return json.dumps(content, indent=2)


def running_owner(out: Path) -> str | None:
    """Return who is at work in a run directory, for people; None where nobody is, or nobody can tell."""
    owner = read_owner(out)
    return owner.words if owner is not None and is_alive(out, owner) else None


def work_status(out: Path) -> WorkStatus | None:
    """Look at the directory of a command that samples no trials; None where it is none of them.

    Raises:
        UserError: If it cannot be used, or its store cannot be read.
    """
    kind = directory_kind(out)
    if kind == "annotate":
        return _labels(out)
    if kind == "train-rm":
        return _training(out, kind, out / TRAINING_FILE, out / "latent-rm")
    if kind == "train-policy":
        return _training(out, kind, out / SUMMARY_FILE, out / POLICY_FOLDER)
    if kind == "train-reasoner":
        return WorkStatus(out, kind, True, 1, 1, "checkpoint", running_owner(out), out)
    return None


def _labels(out: Path) -> WorkStatus:
    finished, facts = (out / MANIFEST_FILE).is_file(), read_work_file(out)
    done: int | None = None
    wanted: int | None = None
    if facts:
        questions, candidates = int(facts["questions"]), int(facts["candidates"])
        store = ShardFolder(str(read_yaml(out / "config.yaml")["store"]["path"]), str(facts["labels"]), {})
        wanted = questions * candidates
        try:
            done = int(store.covered(questions, candidates).sum()) if _is_there(store.root) else None
        except OSError as error:
            raise UserError(f"store.path {masked(store.root)}: cannot be read: {error}") from error
    elif finished:
        manifest = LabelManifest.load(out)
        done = wanted = manifest.questions * manifest.candidates
    # A command that was started again labels what its new configuration asks for, beside the old manifest.
    complete = finished and done == wanted
    return WorkStatus(
        out, "annotate", complete, done, wanted, "labelled candidates", running_owner(out), out / MANIFEST_FILE
    )


def _is_there(root: str) -> bool:
    """Whether a store is where the configuration puts it, as seen from here."""
    return "://" in root or Path(root).is_dir()


def _training(out: Path, command: str, summary: Path, result: Path) -> WorkStatus:
    finished, facts = summary.is_file(), read_work_file(out)
    history = _history(out / _HISTORY_FILE)
    done = int(history[-1]["update"]) if history else 0
    wanted = int(facts["updates"]) if "updates" in facts else None
    return WorkStatus(out, command, finished, done, wanted, "updates", running_owner(out), result)


def _history(file: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []
