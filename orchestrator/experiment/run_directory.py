"""Run directory: which command wrote it, which trials it samples, and what can be read from it without any model.

`run.json` says it. With it, and with the store, `status` and `report` need neither the checkpoint nor the LatentRM.
The directory of a sweep that was divided into a group of sweeps names theirs. Imports no torch.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import latent_core
from latent_core.errors import UserError
from orchestrator.config.loading import read_yaml
from orchestrator.files import write_json
from orchestrator.store.labels import MANIFEST_FILE
from orchestrator.store.trial import Trial

RUN_FILE = "run.json"
GROUP_FILE = "study.json"
TRAINING_PLAN_FILE = "plan.json"
TRAINING_FILE = "training.json"
SUMMARY_FILE = "summary.json"
POLICY_FOLDER = "checkpoint"
"""Where `train-policy` puts the policy."""
TUNE_FOLDER = "tune"
"""Where Ray Tune keeps the state of a sweep's trials."""
FORMAT = 1

GROUP = "sweep group"
_KINDS = {
    "run": "a run",
    "sweep": "a sweep",
    GROUP: "a group of sweeps",
    "annotate": "a labelled set, as `annotate` makes it",
    "train-rm": "the training of a LatentRM, as `train-rm` makes it",
    "train-policy": "the training of a policy, as `train-policy` makes it",
    "train-reasoner": "a reasoner that `train-reasoner` has made",
}
_EXPERIMENTS = ("run", "sweep")


@dataclass(frozen=True)
class RunDirectory:
    """What a run directory holds.

    Attributes:
        out: The directory.
        command: "run" or "sweep".
        latentswarm: Version that wrote it.
        started: When the command began that last worked here.
        fingerprint: What its curves depend on, as a hash.
        questions: Number of questions.
        trials: The sampled trials in the order of the report, greedy decoding among them.
    """

    out: Path
    command: str
    latentswarm: str
    started: datetime
    fingerprint: str
    questions: int
    trials: tuple[Trial, ...]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its `config.yaml`, as it stands there."""
        return read_yaml(self.out / "config.yaml")

    def all_trials(self) -> tuple[Trial, ...]:
        """The sampled trials, each followed by its beam searches."""
        return tuple(one for trial in self.trials for one in trial.with_searches)

    def summary(self) -> dict[str, Any] | None:
        """Read `summary.json`; None where the run has not written it, or not all of it."""
        try:
            content = json.loads((self.out / SUMMARY_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def lost_store(self) -> str | None:
        """Say that the store is not where the configuration puts it, if it is not."""
        path = str(self.config["store"]["path"])
        if "://" in path or Path(path).expanduser().is_dir():
            return None
        return (
            f"its store, {path}, is not there as seen from {Path.cwd()}; ask from the directory in which the run was "
            "started"
        )


def directory_kind(out: Path) -> str | None:
    """Return the command that made a directory, "sweep group" for that of several sweeps; None where none has.

    Raises:
        UserError: If the directory says it in a way that cannot be read.
    """
    if (out / GROUP_FILE).is_file():
        return GROUP
    content = _content(out)
    if content is not None:
        return str(content.get("command"))
    # Directories of commands that wrote no `run.json`.
    if (out / MANIFEST_FILE).is_file():
        return "annotate"
    if (out / TRAINING_PLAN_FILE).is_file():
        return "train-rm"
    return "train-reasoner" if (out / TRAINING_FILE).is_file() else None


def check_kind(out: Path, command: str) -> None:
    """Refuse to work in a directory that another kind of command has made: its files would be replaced.

    Raises:
        UserError: With what lies there.
    """
    kind = directory_kind(out)
    if kind is None or kind == command or {kind, command} <= set(_EXPERIMENTS):
        return
    raise UserError(f"--out {out}: holds {_KINDS.get(kind, f'what `{kind}` has made')}; choose another directory")


def open_run(out: Path) -> RunDirectory:
    """Open a run directory; reads no weights and starts nothing.

    Raises:
        UserError: If it is no run directory, or a newer version has written it.
    """
    if not out.is_dir():
        raise UserError(f"{out}: " + ("a file; name its run directory" if out.is_file() else _not_there(out)))
    file = out / "config.yaml"
    if not file.is_file():
        raise UserError(f"{out}: has no config.yaml; is it a run directory, as `run` and `sweep` leave them?")
    check_run_file(out)
    kind = directory_kind(out)
    if kind is not None and kind not in _EXPERIMENTS:
        raise UserError(f"{out}: {_KINDS[kind]}, and neither a run nor a sweep")
    config = read_yaml(file)
    try:
        store = str(config["store"]["path"])
    except (KeyError, TypeError):
        raise UserError(f"{file}: has no store.path, which every resolved configuration of a run has") from None
    found = read_run_file(out, store)
    if found is None:
        raise UserError(f"{out}: has no {RUN_FILE}, which says what was sampled; the same run or sweep writes it anew")
    return found


def _not_there(out: Path) -> str:
    siblings = [one.name for one in out.parent.iterdir() if one.is_dir()] if out.parent.is_dir() else []
    near = difflib.get_close_matches(out.name, siblings, n=1)
    return "no such directory" + (f"; did you mean {out.parent / near[0]}?" if near else "")


def write_run_file(out: Path, command: str, fingerprint: str, questions: int, trials: Sequence[Trial]) -> Path:
    """Write `run.json` at the start of an experiment, in place of that of an earlier command.

    Args:
        out: The run directory; it exists.
        command: "run" or "sweep".
        fingerprint: What its curves depend on, as a hash.
        questions: Number of questions.
        trials: The sampled trials, greedy decoding among them.

    Returns:
        The file.
    """
    content = {
        "format": FORMAT,
        "command": command,
        "latentswarm": latent_core.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": fingerprint,
        "questions": questions,
        "settings": [trial.to_plain() for trial in trials],
    }
    file = out / RUN_FILE
    # Somebody may ask for the status at this very moment.
    write_json(file, content)
    return file


def write_work_file(out: Path, command: str, facts: Mapping[str, Any]) -> None:
    """Write the `run.json` of a command that samples no trials: what it is, and what tells how far it is.

    Args:
        out: The run directory; it exists.
        command: "annotate", "train-rm" or "train-policy".
        facts: What `status` needs besides.
    """
    content = {
        "format": FORMAT,
        "command": command,
        "latentswarm": latent_core.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(out / RUN_FILE, {**content, **facts})


def read_work_file(out: Path) -> dict[str, Any]:
    """Read what `write_work_file` has written; empty where the command wrote none.

    Raises:
        UserError: If a newer version has written it, or it cannot be used.
    """
    return _content(out) or {}


def check_run_file(out: Path) -> None:
    """Refuse a run directory that a newer version has written; one without the file has not been begun, and is fine.

    Raises:
        UserError: If it is newer, or the file cannot be used.
    """
    _content(out)


def read_run_file(out: Path, store: str) -> RunDirectory | None:
    """Read `run.json`; None where no command has begun.

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
        return RunDirectory(
            out=out,
            command=str(content["command"]),
            latentswarm=str(content["latentswarm"]),
            started=datetime.fromisoformat(content["started"]),
            fingerprint=str(content["identity"]),
            questions=int(content["questions"]),
            trials=tuple(Trial.from_plain(raw, store) for raw in content["settings"]),
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


def write_group_file(out: Path, folders: Mapping[str, str]) -> None:
    """Write down the run directories of a group of sweeps, by the names of its sweeps."""
    write_json(out / GROUP_FILE, {"sweeps": dict(folders)})


def group_directories(out: Path) -> list[Path]:
    """Return the run directories of a group of sweeps, or the directory itself if it is that of a run or a sweep.

    Raises:
        UserError: If the file that names them cannot be used.
    """
    file = out / GROUP_FILE
    if not file.is_file():
        return [out]
    try:
        return [out / str(folder) for folder in json.loads(file.read_text(encoding="utf-8"))["sweeps"].values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: cannot be used ({error}); the same sweep writes it anew") from error
