"""Sweep groups: where a space names checkpoints, tasks or LatentRMs, one sweep for each, and a comparison of all.

Curves of different models or questions do not belong into one picture by default, and a scheduler must not stop the
trials of a hard benchmark because those of an easy one are better: hence a run directory each.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from latent_core.errors import UserError, WorkFailed
from orchestrator.config.distributions import is_distribution
from orchestrator.config.loading import parse_config, save_config, with_overrides
from orchestrator.config.run import RunConfig
from orchestrator.config.space import GROUP_KEYS, GROUP_PREFIX, listed
from orchestrator.console import say
from orchestrator.experiment.run_directory import GROUP, GROUP_FILE, check_kind, write_group_file
from orchestrator.tracking.server import tracking_uri

if TYPE_CHECKING:
    from orchestrator.experiment.execution import SampleTrials

_NAMED_BY_VALUE = ("checkpoint", "task.name", "task.path", "task.hub")
_LONGEST_FOLDER = 200


@dataclass(frozen=True)
class GroupedSweep:
    """One of the sweeps of a group.

    Attributes:
        name: The values that distinguish it, readable; empty where a sweep is not divided.
        config: Its configuration, whose space names samplers only.
    """

    name: str
    config: RunConfig

    @property
    def folder(self) -> str:
        """Name of its run directory within that of the group."""
        return re.sub(r"[^A-Za-z0-9._=-]+", "-", self.name).lstrip("-.").rstrip("-")


def divide(config: RunConfig) -> list[GroupedSweep]:
    """Divide a sweep by the checkpoints, tasks and LatentRMs of its space.

    Raises:
        UserError: If one of them is not a valid configuration, or two of them would share a directory.
    """
    raw = config.model_dump(mode="json")
    found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for number, grid in enumerate(config.sweep.space):
        outer = {key: listed(value) for key, value in grid.items() if _is_outer(key)}
        inner = {key: value for key, value in grid.items() if not _is_outer(key)}
        for key, values in outer.items():
            if not values or any(is_distribution(value) for value in values):
                raise UserError(f"sweep.space[{number}]: {key!r} takes one value or a list of values")
        for combination in itertools.product(*outer.values()):
            choice = dict(zip(outer, combination, strict=True))
            space = found.setdefault(_identity(choice), (choice, []))[1]
            if inner not in space:
                space.append(inner)
    if all(not choice for choice, _ in found.values()):
        return [GroupedSweep("", config)]
    names = _names([choice for choice, _ in found.values()])
    sweeps = [GroupedSweep(name, _config(raw, *parts)) for name, parts in zip(names, found.values(), strict=True)]
    _check_folders(sweeps, [choice for choice, _ in found.values()])
    return sweeps


def run_sweep_group(
    config: RunConfig,
    sweeps: list[GroupedSweep],
    out: Path,
    sample: "SampleTrials",
    *,
    dry_run: bool,
    console: Console,
    retry_failed: bool = False,
    imported: Callable[[], None] = lambda: None,
) -> None:
    """Plan all sweeps, then carry them out one after the other, then compare them.

    Args:
        config: The configuration that has been divided.
        sweeps: Its parts.
        out: The directory of the group; each sweep has one of its own in it.
        sample: Samples the trials of one sweep.
        dry_run: Whether to stop behind the plans.
        console: Where progress is said.
        retry_failed: Whether to try rows again that have failed for good.
        imported: As `make_plan` takes it.

    Raises:
        UserError: If any of them cannot be run; nothing is started then.
    """
    from orchestrator.experiment.command_plans import plan_sweep
    from orchestrator.experiment.dry_run import show_dry_run
    from orchestrator.experiment.lease import Lease

    check_kind(out, GROUP)
    experiments = []
    for sweep in sweeps:
        try:
            tracking = {"uri": tracking_uri(config.tracking, out), "experiment": config.tracking.experiment}
            own = parse_config(RunConfig, {**sweep.config.model_dump(mode="json"), "tracking": tracking})
            planned = plan_sweep(f"{out.name}: {sweep.name}", own, out / sweep.folder, imported)
            experiments.append(replace(planned, retry_failed=retry_failed))
        except UserError as error:
            raise UserError(f"{sweep.name}: {error}") from None
    if dry_run:
        for number, (sweep, experiment) in enumerate(zip(sweeps, experiments, strict=True), start=1):
            _announce(number, len(sweeps), sweep, console)
            show_dry_run(experiment, console)
        return
    from orchestrator.experiment.execution import carry_out

    with Lease(out, "sweep"):
        _write_group(config, sweeps, out)
        failures = []
        for number, (sweep, experiment) in enumerate(zip(sweeps, experiments, strict=True), start=1):
            _announce(number, len(sweeps), sweep, console)
            try:
                carry_out(experiment, sample, console)
            except WorkFailed as error:
                # The other sweeps may be of a checkpoint that works.
                failures.append(f"{sweep.name}: {error}")
        from orchestrator.jobs.run_reports import report_runs

        report_runs([out], None, out, console, tables=False)
    if failures:
        raise WorkFailed("; ".join(failures))


def _announce(number: int, sweeps: int, sweep: GroupedSweep, console: Console) -> None:
    say(console, f"\nsweep {number} of {sweeps}: {sweep.name}")


def _write_group(config: RunConfig, sweeps: list[GroupedSweep], out: Path) -> None:
    try:
        save_config(config, out / "config.yaml")
        write_group_file(out, {sweep.name: sweep.folder for sweep in sweeps})
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error


def _is_outer(key: str) -> bool:
    return key in GROUP_KEYS or key.startswith(GROUP_PREFIX)


def _config(raw: Mapping[str, Any], choice: Mapping[str, Any], space: list[dict[str, Any]]) -> RunConfig:
    return parse_config(RunConfig, with_overrides(raw, [*choice.items(), ("sweep.space", space)]))


def _identity(choice: Mapping[str, Any]) -> str:
    """Return what two grids share that belong to one sweep."""
    plain = {key: value.rstrip("/") if isinstance(value, str) else value for key, value in choice.items()}
    return json.dumps(plain, sort_keys=True, default=str)


def _names(choices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name combinations by their values alone, where they say enough: paths and bundled models by their last part.

    Where other values end in the same part, as in a/final and b/final, by as many parts as tell them apart.
    """
    ends = {
        key: _distinct_ends(str(choice[key]) for choice in choices if key in choice)
        for key in dict.fromkeys(key for choice in choices for key in choice)
    }
    return [
        " ".join(
            end if key in _NAMED_BY_VALUE else f"{key}={end}"
            for key, value in choice.items()
            for end in (ends[key][str(value)],)
        )
        or "as configured"
        for choice in choices
    ]


def _distinct_ends(values: Iterable[str]) -> dict[str, str]:
    """Return the shortest end of each value that no other one has, whole parts of a path; else all of its parts."""
    parts = {value: [part for part in re.split(r"[/:]", value) if part not in ("", ".")] for value in values}
    return {value: _distinct_end(own, [one for one in parts.values() if one != own]) for value, own in parts.items()}


def _distinct_end(own: Sequence[str], others: Sequence[Sequence[str]]) -> str:
    for length in range(1, len(own)):
        if all(other[-length:] != own[-length:] for other in others):
            return "/".join(own[-length:])
    return "/".join(own)


def _check_folders(sweeps: Sequence[GroupedSweep], choices: Sequence[Mapping[str, Any]]) -> None:
    """Refuse sweeps that would share a directory, or take a name that something else in the group's has.

    Raises:
        UserError: With the two values, or the one, and the directory.
    """
    # A sweep that is not divided need not wait for what draws.
    from orchestrator.reporting.compare_runs import COMPARISON_FILES

    own_files = ("config.yaml", GROUP_FILE, *COMPARISON_FILES)
    taken: dict[str, str] = {}
    for sweep, choice in zip(sweeps, choices, strict=True):
        given = ", ".join(f"{key}={value}" for key, value in choice.items()) or sweep.name
        where, cure = f"sweep.space: {given}", "give it another name, such as by a symbolic link"
        # Some file systems take upper for lower case.
        folder = sweep.folder.casefold()
        if not re.search(r"[a-z0-9]", folder):
            raise UserError(f"{where}: its sweep has no name that a directory can have (letters or digits); {cure}")
        if len(folder) > _LONGEST_FOLDER:
            raise UserError(f"{where[:_LONGEST_FOLDER]}...: too long for the name of a directory; {cure}")
        if folder in own_files:
            raise UserError(f"{where}: its directory would have the name of the group's file {sweep.folder}; {cure}")
        if folder in taken:
            raise UserError(
                f"{where} and {taken[folder]} would share the directory {sweep.folder}; spell it in one way if it is "
                f"one, or {cure}"
            )
        taken[folder] = given
