"""Sweep groups: where a space names checkpoints, tasks or LatentRMs, one sweep for each, and a comparison of all.

Curves of different models or questions do not belong into one picture by default, and a scheduler must not stop the
trials of a hard benchmark because those of an easy one are better: hence a run directory each.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from latent_core.errors import UserError, WorkFailed
from orchestrator.config.distributions import is_distribution
from orchestrator.config.loading import parse_config, save_config, with_overrides
from orchestrator.config.run import RunConfig
from orchestrator.config.space import listed
from orchestrator.experiment.run_directory import GROUP, check_kind, write_group_file
from orchestrator.tracking.server import tracking_uri

if TYPE_CHECKING:
    from orchestrator.experiment.execution import SampleTrials

_OUTER_KEYS = ("checkpoint", "scorer.checkpoint")
_OUTER_PREFIX = "task."


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
        return re.sub(r"[^A-Za-z0-9._=-]+", "-", self.name).strip("-")


def divide(config: RunConfig) -> list[GroupedSweep]:
    """Divide a sweep by the checkpoints, tasks and LatentRMs of its space.

    Raises:
        UserError: If one of them is not a valid configuration.
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
            found.setdefault(_name(choice), (choice, []))[1].append(inner)
    if set(found) <= {""}:
        return [GroupedSweep("", config)]
    return [GroupedSweep(name or "as configured", _config(raw, *parts)) for name, parts in found.items()]


def run_sweep_group(
    config: RunConfig,
    sweeps: list[GroupedSweep],
    out: Path,
    sample: "SampleTrials",
    *,
    dry_run: bool,
    console: Console,
) -> None:
    """Plan all sweeps, then carry them out one after the other, then compare them.

    Args:
        config: The configuration that has been divided.
        sweeps: Its parts.
        out: The directory of the group; each sweep has one of its own in it.
        sample: Samples the trials of one sweep.
        dry_run: Whether to stop behind the plans.
        console: Where progress is said.

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
            experiments.append(plan_sweep(f"{out.name}: {sweep.name}", own, out / sweep.folder))
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
        from orchestrator.commands.run_reports import report_runs

        report_runs([out], None, out, console, tables=False)
    if failures:
        raise WorkFailed("; ".join(failures))


def _announce(number: int, sweeps: int, sweep: GroupedSweep, console: Console) -> None:
    console.print(f"\nsweep {number} of {sweeps}: {sweep.name}", markup=False, highlight=False)


def _write_group(config: RunConfig, sweeps: list[GroupedSweep], out: Path) -> None:
    try:
        save_config(config, out / "config.yaml")
        write_group_file(out, {sweep.name: sweep.folder for sweep in sweeps})
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error


def _is_outer(key: str) -> bool:
    return key in _OUTER_KEYS or key.startswith(_OUTER_PREFIX)


def _config(raw: Mapping[str, Any], choice: Mapping[str, Any], space: list[dict[str, Any]]) -> RunConfig:
    return parse_config(RunConfig, with_overrides(raw, [*choice.items(), ("sweep.space", space)]))


def _name(choice: Mapping[str, Any]) -> str:
    """Name a combination by its values alone, where they say enough: paths and bundled models by their last part."""
    return " ".join(
        _short(value) if key in ("checkpoint", "task.name", "task.path", "task.hub") else f"{key}={_short(value)}"
        for key, value in choice.items()
    )


def _short(value: object) -> str:
    return re.split(r"[/:]", str(value).rstrip("/"))[-1]
