"""What do commands cost that compute nothing: a typo, a wrong name, a plan, a run that is complete, a report?

    python -m benchmarks.commands --against ../before

Real commands in processes of their own, imports included, in turns with those of another checkout of latentswarm if one
is named. CPU seconds are user and system, of the process and of those that it has waited for. Each checkout has a run
and two sweeps of its own, which are sampled first: that of the demo on `--limit` questions, and one of `--settings`
settings.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).resolve().parents[1]
_RUN = "configs/word_problems.yaml"
_DEMO = "configs/demo.yaml"
_MANY = "many.yaml"
_RUN_LIMIT = ("sampler.kind=gaussian", "sampler.sigma=0.4", "task.limit=16", "budgets=[1,4]")

MEASURED: dict[str, tuple[tuple[str, ...], int]] = {
    "a misspelt key": (("run", _RUN, "budgts=[1]"), 2),
    "a misspelt task": (("run", _RUN, "task.name=word_problem"), 2),
    "a checkpoint that is not there": (("run", _RUN, "checkpoint=./nowhere"), 2),
    "plan of the demo": (("sweep", _DEMO, "--dry-run"), 0),
    "status of the demo": (("status", "demo"), 0),
    "run, everything stored": (("run", _RUN, *_RUN_LIMIT, "--out", "run"), 0),
    "sweep, everything stored": (("sweep", _MANY, "--out", "many"), 0),
    "report of the demo": (("report", "demo"), 0),
    "report of the demo, pictures drawn anew": (("report", "demo"), 0),
}
"""Commands by what is asked, with the exit codes that they have to have."""


@dataclass(frozen=True)
class Cost:
    """What a command has cost.

    Attributes:
        cpu: CPU seconds.
        wall: Seconds from its start to its end.
    """

    cpu: float
    wall: float


def cost_of(checkout: Path, folder: Path, arguments: Sequence[str], code: int) -> Cost:
    """Run a command of a checkout in a folder.

    Raises:
        RuntimeError: If it ends with another exit code.
    """
    variables = {**os.environ, "PYTHONPATH": str(checkout)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)} in {folder}: exit code {process.returncode}, not {code}")
    return Cost(used.ru_utime + used.ru_stime, wall)


def many_settings(settings: int) -> dict[str, Any]:
    """Return the configuration of a sweep of so many settings and hardly any questions."""
    sigmas = [round(0.01 * number, 2) for number in range(1, settings + 1)]
    return {
        "checkpoint": "bundled:coconut-tiny",
        "task": {"name": "word_problems", "limit": 4},
        "budgets": [1, 2],
        "answer_tokens": 8,
        "sweep": {"space": [{"sampler.kind": "gaussian", "sampler.sigma": sigmas}], "objective": "coverage"},
    }


def prepare(checkout: Path, folder: Path, limit: int, settings: int) -> None:
    """Sample what the commands are about; the configurations are this checkout's."""
    folder.mkdir()
    (folder / "configs").symlink_to(_HERE / "tune_configs")
    (folder / _MANY).write_text(yaml.safe_dump(many_settings(settings)))
    cost_of(checkout, folder, ["sweep", _MANY, "--out", "many"], 0)
    cost_of(checkout, folder, ["run", _RUN, *_RUN_LIMIT, "--out", "run"], 0)
    cost_of(checkout, folder, ["sweep", _DEMO, f"task.limit={limit}", "--out", "demo"], 0)


def measure(checkouts: Sequence[Path], limit: int, settings: int, repeats: int) -> dict[str, list[list[Cost]]]:
    """Return what each command costs: by what is asked, for each checkout in turn."""
    costs: dict[str, list[list[Cost]]] = {what: [[] for _ in checkouts] for what in MEASURED}
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, str(number)) for number in range(len(checkouts))]
        for checkout, folder in zip(checkouts, folders, strict=True):
            prepare(checkout, folder, limit, settings)
        for _ in range(repeats):
            for what, (arguments, code) in MEASURED.items():
                for number, (checkout, folder) in enumerate(zip(checkouts, folders, strict=True)):
                    if "drawn anew" in what:
                        for picture in (folder / "demo").glob("*.png"):
                            picture.unlink()
                    costs[what][number].append(cost_of(checkout, folder, arguments, code))
    return costs


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, whose commands are measured in turns")
    parser.add_argument("--limit", type=int, default=24, help="questions of the demo")
    parser.add_argument("--settings", type=int, default=100, help="settings of the sweep that is complete")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    checkouts = [_HERE, *([options.against.resolve()] if options.against else [])]
    costs = measure(checkouts, options.limit, options.settings, options.repeats)
    names = ["here", *(["there"] if options.against else [])]
    titles = [f"{what} {name}" for name in names for what in ("CPU s", "wall s")]
    sys.stdout.write(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n\n")
    sys.stdout.write(f"| command | {' | '.join(titles)} | CPU here / there |\n|{'---|' * (len(titles) + 2)}\n")
    for what, sides in costs.items():
        cpu = [statistics.median(one.cpu for one in side) for side in sides]
        wall = [statistics.median(one.wall for one in side) for side in sides]
        cells = [f"{number:.2f}" for pair in zip(cpu, wall, strict=True) for number in pair]
        ratio = f"{cpu[0] / cpu[1]:.2f}" if options.against else "-"
        sys.stdout.write(f"| {what} | {' | '.join(cells)} | {ratio} |\n")


if __name__ == "__main__":
    main()
