"""What tests share besides fixtures."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from latent_core.trajectory import Trajectory, TrajectoryBatch
from workers import tables

if TYPE_CHECKING:
    from latent_core.tasks.base import Problem
    from orchestrator.store.shards import Shard

Command = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `latentswarm` with the given arguments in a process of its own."""

WriteConfig = Callable[[dict[str, Any]], Path]
"""Writes settings to a YAML file."""


CLUSTER: dict[str, str] = {}
"""Variables that say where commands find a cluster, while tests use the fixture `shared_cluster`."""


def environment() -> dict[str, str]:
    """The environment of a user's shell: nothing of it decides where tracking is, and only `CLUSTER` where Ray is."""
    own = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    return own | CLUSTER


def shared_folder(name: str) -> Path:
    """A folder of golden outputs ("parity") or of real benchmarks ("data") beside the checkout; skips without it."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / name
    folder = Path(os.environ.get(f"LATENTSWARM_{name.upper()}_DIR", beside))
    if not folder.is_dir():
        pytest.skip(f"LATENTSWARM_{name.upper()}_DIR ({folder}) is not a directory")
    return folder


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int = 256) -> Iterator[Path]:
    """A folder that is a disk of its own, in memory; skips where this machine lets nobody mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on the disk of a folder; returns the file to be removed."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"." * 4096):
            pass
    return filler


def make_read_only(disk: Path) -> None:
    """Let nobody write to a disk of `small_disk` any more; root neither, whom permissions do not hold."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def shard_files(folder: Path) -> dict[str, int]:
    """The shards below a folder, with the time each was written."""
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("q*.parquet")}


def stored_rows(folder: Path) -> pd.DataFrame:
    """All rows of the shards in a folder, which must hold each exactly once; clock readings are left out.

    Lists become bytes, so that comparing rows compares every bit.
    """
    rows = pd.concat([pd.read_parquet(file) for file in folder.glob("q*.parquet")], ignore_index=True)
    assert not rows.duplicated(["question_index", "sample_index"]).any(), folder
    rows = rows.drop(columns=[name for name in rows if name.endswith("seconds")])
    for name in rows:
        if rows[name].map(lambda value: isinstance(value, np.ndarray)).any():
            rows[name] = [None if value is None else value.tobytes() for value in rows[name]]
    return rows.sort_values(["question_index", "sample_index"], ignore_index=True)


def trajectory_table(rows: Iterable[Trajectory], first_question: int, samples: int, latents: str = "none") -> pa.Table:
    """The table of records that were made one by one."""
    return tables.trajectory_table(TrajectoryBatch.of(rows), first_question, samples, latents)


def processes_below(ancestor: int, name: str) -> list[int]:
    """The ids of the living processes with a name that a process, or one that it has started, has started.

    One that has ended and that nobody has waited for yet has no command line any more, so it is not among them.
    """
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything, spaces too.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = []
    for process in parents:
        above = process
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and process != ancestor:
            with contextlib.suppress(OSError):
                if name in Path(f"/proc/{process}/cmdline").read_text():
                    found.append(process)
    return found


def process_below(ancestor: int, name: str) -> int:
    """The id of a process as `processes_below` finds them.

    Raises:
        LookupError: If there is none.
    """
    found = processes_below(ancestor, name)
    if not found:
        raise LookupError(f"no process {name!r} below {ancestor}")
    return found[0]


def command_of_parent(process: int) -> str:
    """The command line of the process that has started another, with a zero byte behind every argument."""
    parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    return Path(f"/proc/{parent}/cmdline").read_text()


def work_block(number: int, shard: "Shard", problems: "Sequence[Problem]") -> pa.Table:
    """The block that Ray Data makes of a work item."""
    # Ray Data takes seconds to import, which most tests need not wait for.
    from orchestrator.pipeline.blocks import WorkItem

    return pa.Table.from_pylist([WorkItem(number, shard).row(problems)])
