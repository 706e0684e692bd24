"""A run directory opened for reading: its configuration, and the trials whose trajectories the store has."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_core.errors import UserError
from orchestrator.analysis.cut_answers import as_begun
from orchestrator.config.loading import read_yaml
from orchestrator.experiment.run_directory import check_run_file, read_run_file
from orchestrator.store.trial import Trial, WithSearches

if TYPE_CHECKING:
    from orchestrator.config.run import RunConfig


@dataclass(frozen=True)
class StoredRun:
    """A run directory and what belongs to it.

    Attributes:
        out: The directory.
        config: Its `config.yaml`, as it stands there.
        command: "run" or "sweep".
        questions: Number of questions.
        trials: The sampled trials, greedy decoding among them, each with its beam searches.
    """

    out: Path
    config: Mapping[str, Any]
    command: str
    questions: int
    trials: tuple[WithSearches, ...]

    def all_trials(self) -> tuple[Trial, ...]:
        """The sampled trials, each followed by its beam searches."""
        return tuple(one for trial, searches in self.trials for one in (trial, *searches))

    def lost_store(self) -> str | None:
        """Say that the store is not where the configuration puts it, if it is not."""
        path = str(self.config["store"]["path"])
        if "://" in path or Path(path).expanduser().is_dir():
            return None
        return (
            f"its store, {path}, is not there as seen from {Path.cwd()}; ask from the directory in which the run was "
            "started"
        )


def open_run(out: Path) -> StoredRun:
    """Open a run directory; reads no weights and starts nothing.

    What `run.json` says needs no model. A directory that is older than this file is planned again, for which its
    checkpoint and its LatentRM must still be there.

    Raises:
        UserError: If it is no run directory, a newer version has written it, or it has to be planned and cannot be.
    """
    if not out.is_dir():
        raise UserError(f"{out}: " + ("a file; name its run directory" if out.is_file() else _not_there(out)))
    file = out / "config.yaml"
    if not file.is_file():
        raise UserError(f"{out}: has no config.yaml; is it a run directory, as `run` and `sweep` leave them?")
    check_run_file(out)
    config = read_yaml(file)
    try:
        store = str(config["store"]["path"])
    except (KeyError, TypeError):
        raise UserError(f"{file}: has no store.path, which every resolved configuration of a run has") from None
    record = read_run_file(out, store)
    if record is not None:
        return StoredRun(out, config, record.command, record.questions, record.trials)
    return _planned(out, config)


def read_summary(out: Path) -> dict[str, Any] | None:
    """Read `summary.json`; None where the run has not written it, or not all of it."""
    try:
        content = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _not_there(out: Path) -> str:
    siblings = [one.name for one in out.parent.iterdir() if one.is_dir()] if out.parent.is_dir() else []
    near = difflib.get_close_matches(out.name, siblings, n=1)
    return "no such directory" + (f"; did you mean {out.parent / near[0]}?" if near else "")


def _planned(out: Path, raw: Mapping[str, Any]) -> StoredRun:
    from orchestrator.commands.run import plan_run
    from orchestrator.commands.sweep import plan_sweep
    from orchestrator.config.run import parse_config

    try:
        config = parse_config(as_begun(raw))
        command = _command(out, config)
        experiment = (plan_sweep if command == "sweep" else plan_run)(out.name, config, out)
    except UserError as error:
        raise UserError(f"{out / 'config.yaml'}: {error}") from None
    trials = tuple((one, experiment.searches_of(one)) for one in experiment.sampled_trials())
    return StoredRun(out, raw, command, len(experiment.plan.problems), trials)


def _command(out: Path, config: "RunConfig") -> str:
    """Which command made an older directory; a configuration with a search space can be given to both."""
    from orchestrator.analysis.curves import GREEDY

    if not config.sweep.space:
        return "run"
    summary = read_summary(out)
    if summary is not None:
        own = {GREEDY, config.sampler.describe()}
        return "run" if all(trial["trial"] in own for trial in summary["trials"]) else "sweep"
    return "sweep" if (out / "tune").is_dir() else "run"
