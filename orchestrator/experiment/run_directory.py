"""The file that says what a run directory belongs to: which command wrote it, and which trials it samples.

With it, and with the store, `status` and `report` need neither the checkpoint nor the LatentRM.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import latent_core
from latent_core.errors import UserError
from orchestrator.files import write_json
from orchestrator.store.trial import WithSearches
from orchestrator.store.trial_record import plain_with_searches, with_searches_from_plain

RUN_FILE = "run.json"
FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds.

    Attributes:
        command: "run" or "sweep".
        latentswarm: Version that wrote it.
        started: When the command began that last worked here.
        identity: What its curves depend on, as a hash; None in a file of an earlier version.
        questions: Number of questions.
        trials: The sampled trials in the order of the report, greedy decoding among them.
    """

    command: str
    latentswarm: str
    started: datetime
    identity: str | None
    questions: int
    trials: tuple[WithSearches, ...]


def write_run_file(out: Path, command: str, identity: str, questions: int, trials: Sequence[WithSearches]) -> Path:
    """Write `run.json` at the start of an experiment, in place of that of an earlier command.

    Args:
        out: The run directory; it exists.
        command: "run" or "sweep".
        identity: What its curves depend on, as a hash.
        questions: Number of questions.
        trials: The sampled trials, greedy decoding among them, each with its beam searches.

    Returns:
        The file.
    """
    content = {
        "format": FORMAT,
        "command": command,
        "latentswarm": latent_core.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": identity,
        "questions": questions,
        "settings": [plain_with_searches(trial, searches) for trial, searches in trials],
    }
    file = out / RUN_FILE
    # Somebody may ask for the status at this very moment.
    write_json(file, content)
    return file


def check_run_file(out: Path) -> None:
    """Refuse a run directory that a newer version has written. One without the file is an older one, and fine.

    Raises:
        UserError: If it is newer, or the file cannot be used.
    """
    _content(out)


def read_run_file(out: Path, store: str) -> RunRecord | None:
    """Read `run.json`; None for a run directory that is older than this file.

    Args:
        out: The run directory.
        store: Where the store is; its folders are named by the file, its place by the configuration.

    Raises:
        UserError: If a newer version has written it, or it cannot be used.
    """
    content = _content(out)
    if content is None:
        return None
    try:
        return RunRecord(
            command=str(content["command"]),
            latentswarm=str(content["latentswarm"]),
            started=datetime.fromisoformat(content["started"]),
            identity=content.get("identity"),
            questions=int(content["questions"]),
            trials=tuple(with_searches_from_plain(raw, store) for raw in content["settings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(out, f"{type(error).__name__}: {error}") from error


def _content(out: Path) -> dict[str, Any] | None:
    file = out / RUN_FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unusable(out, str(error)) from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise _unusable(out, "it does not say which format it has")
    if version > FORMAT:
        raise UserError(
            f"{file}: format {version}, written by latentswarm {content.get('latentswarm', 'of unknown version')}; "
            f"this is {latent_core.__version__}, which reads up to format {FORMAT}: update latentswarm"
        )
    return dict(content)


def _unusable(out: Path, why: str) -> UserError:
    reason = " ".join(why.split())
    return UserError(f"{out / RUN_FILE}: cannot be used ({reason}); the same run or sweep writes it anew")
