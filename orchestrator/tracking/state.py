"""Progress of the outbox: which operations of the journal MLflow has, and which were set aside, and why.

It stands in the run directory beside the journal. Loads no MLflow, so that `status` can read it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.console import masked
from orchestrator.files import write_json
from orchestrator.tracking.journal import JOURNAL_FILE

STATE_FILE = "tracking.state.json"


@dataclass
class SendState:
    """How far the sender has come with a journal at one place.

    Attributes:
        uri: The place, masked: a new password makes no new place.
        experiment: Name of the MLflow experiment.
        journal: Id of the journal.
        experiment_id: MLflow's id of the experiment, once it is known.
        applied: Operations that have had their turn: MLflow has them, unless they are set aside.
        runs: MLflow's id of each run.
        aside: By place in the journal, why an operation has not been sent; empty as long as it has not been tried.
    """

    uri: str
    experiment: str
    journal: str
    experiment_id: str | None = None
    applied: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    aside: dict[int, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, uri: str, experiment: str, journal: str) -> "SendState":
        """Read the state of earlier commands; another place has nothing of this journal yet, and gets all of it."""
        fresh, noted = cls(masked(uri), experiment, journal), _read(folder)
        if (noted.get("uri"), noted.get("experiment"), noted.get("journal")) != (fresh.uri, experiment, journal):
            return fresh
        try:
            fresh.applied, fresh.experiment_id = int(noted["applied"]), noted["experiment_id"]
            fresh.runs = {str(name): str(run_id) for name, run_id in noted["runs"].items()}
            fresh.aside = {int(place): str(reason) for place, reason in noted.get("aside", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            # MLflow sees nothing twice, so that everything can be sent again.
            return cls(masked(uri), experiment, journal)
        return fresh

    def begin_anew(self) -> None:
        """Forget what has been sent."""
        self.experiment_id, self.applied = None, 0
        self.runs.clear()
        self.aside.clear()

    def save(self, folder: Path) -> None:
        """Write it down."""
        content = {
            "uri": self.uri,
            "experiment": self.experiment,
            "experiment_id": self.experiment_id,
            "journal": self.journal,
            "applied": self.applied,
            "runs": self.runs,
            "aside": self.aside,
        }
        write_json(folder / STATE_FILE, content)


@dataclass(frozen=True)
class Unsent:
    """What MLflow does not have of a run directory's records.

    Attributes:
        uri: Where they are sent, as far as it is known.
        records: All that have been written down.
        waiting: Those whose turn has not come.
        aside: Those that could not be sent, as a count by reason.
    """

    uri: str | None
    records: int
    waiting: int
    aside: dict[str, int]


def unsent(folder: Path) -> Unsent | None:
    """Look at the outbox of a run directory; None where nothing has been tracked."""
    try:
        with (folder / JOURNAL_FILE).open("rb") as file:
            header = file.readline()
            records = sum(line != b"\n" for line in file)
    except OSError:
        return None
    noted = _read(folder)
    if str(noted.get("journal")).encode() not in header:
        # Of an earlier journal: nothing of this one has been sent.
        noted = {}
    aside = noted.get("aside", {})
    reasons = [str(reason) for reason in aside.values() if reason] if isinstance(aside, dict) else []
    applied = noted.get("applied")
    waiting = max(0, records - (applied if isinstance(applied, int) else 0)) + len(aside) - len(reasons)
    uri = noted.get("uri")
    return Unsent(uri if isinstance(uri, str) else None, records, waiting, {one: reasons.count(one) for one in reasons})


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
