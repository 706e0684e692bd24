"""A sweep that the drill disturbs, and what is done to its driver, its run directory and its disk."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.drill_cluster import LEASE_SECONDS, Stage, kill_group
from orchestrator.experiment.lease import read_owner

_DISK_MIB = 256
_NOTICE_S = 120.0
"""How long a driver may take to notice that its cluster is gone, or its disk full."""
_TURN_S = 90.0
"""How long a command may take to plan, and to be refused or to begin."""


class DisturbedSweep:
    """A sweep with a run directory and a store of its own, which is started again whenever it has died.

    Attributes:
        name: What it is called, also in MLflow.
        out: Its run directory.
        store: Its store, on the same disk.
        process: The command that works on it.
        wrong: What went otherwise than promised.
    """

    def __init__(self, stage: Stage, config: Path, folder: Path, name: str) -> None:
        """Name the sweep and make its disk: one of its own where this machine lets one be mounted."""
        self._stage, self._config = stage, config
        self.name, self.log = name, folder / f"{name}.log"
        self._disk = folder / name
        self._disk.mkdir()
        self.out, self.store = self._disk / "run", self._disk / "store"
        self.has_disk = _mount(self._disk)
        self.wrong: list[str] = []
        self.process = self._start()
        self.disturbances: dict[str, Callable[[random.Random], bool]] = {
            **{name: self._kill_part(name) for name in stage.victims},
            "driver": self._kill_driver,
            "second writer": self._second_writer,
            "stopped driver": self._stop_driver,
            **({"full disk": self._fill_disk} if self.has_disk else {}),
        }

    def start_again(self) -> None:
        """Give the same command again."""
        self.process = self._start()

    def ends(self, seconds: float) -> bool:
        """Wait for the command; returns whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def shards(self) -> list[Path]:
        """List the shards of trajectories, beams and scores in the store."""
        return list(self.store.rglob("q*.parquet"))

    def can_be(self, disturbance: str) -> bool:
        """Whether there is something to disturb: an actor, or a driver that has begun to write."""
        if disturbance in ("reasoner", "scorer"):
            return self._stage.has_actor(disturbance)
        if disturbance in ("second writer", "stopped driver"):
            return self._owns(self.process)
        return disturbance != "full disk" or self.store.is_dir()

    def close(self) -> None:
        """Give the disk back."""
        kill_group(self.process)
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)

    def _start(self, *overrides: str) -> subprocess.Popen[bytes]:
        where = ["--out", str(self.out), f"store.path={self.store}", f"tracking.experiment={self.name}"]
        return self._stage.start_sweep([str(self._config), *where, *overrides], self.log)

    def _owns(self, process: subprocess.Popen[bytes]) -> bool:
        owner = read_owner(self.out)
        return owner is not None and owner.process == process.pid and owner.ended is None

    def _kill_part(self, victim: str) -> Callable[[random.Random], bool]:
        def kill(rng: random.Random) -> bool:
            self._stage.victims[victim](rng)
            return self.ends(_NOTICE_S if victim == "cluster" else 1.0)

        return kill

    def _kill_driver(self, rng: random.Random) -> bool:
        kill_group(self.process)
        return True

    def _second_writer(self, rng: random.Random) -> bool:
        """Another sweep begins in the run directory: it has to be refused, as long as the first one is there."""
        before = self.log.stat().st_size
        rival = self._start("seed=1")
        deadline = time.monotonic() + _TURN_S
        while rival.poll() is None and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if rival.poll() is None:
            if self.process.poll() is None:
                self.wrong.append("a second writer was neither refused nor let in")
            kill_group(rival)
        elif rival.returncode != 2 or f"process {self.process.pid} on" not in self._said_since(before):
            self.wrong.append(f"a second writer ended with {rival.returncode}, and does not name the first one")
        return self.ends(0.0)

    def _stop_driver(self, rng: random.Random) -> bool:
        """The driver stands still for longer than its lease, and the same command takes over, before it goes on."""
        stopped = self.process
        os.kill(stopped.pid, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 1)
        before = self.log.stat().st_size
        self.start_again()
        deadline = time.monotonic() + _TURN_S
        while not self._owns(self.process) and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if not self._owns(self.process):
            self.wrong.append("nobody could take over from a driver that stood still for longer than its lease")
        os.kill(stopped.pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            stopped.wait(30)
        if stopped.poll() != 1 or "this process stood still" not in self._said_since(before):
            self.wrong.append(f"a driver that had stood still ended with {stopped.poll()}, and does not say why")
        kill_group(stopped)
        return self.ends(0.0)

    def _fill_disk(self, rng: random.Random) -> bool:
        """The disk of store and run directory has no room until the command has ended."""
        before, unfinished = self.log.stat().st_size, self._unfinished()
        filler = self._disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"." * (1 << 20)):
                pass
        ended = self.ends(_NOTICE_S)
        if ended and self.process.returncode not in (0, 1, 2):
            self.wrong.append(f"a command whose disk was full ended with {self.process.returncode}")
        if ended and self.process.returncode and "No space left on device" not in self._said_since(before):
            self.wrong.append("a command whose disk was full does not say so")
        if "Traceback" in self._said_since(before):
            self.wrong.append("a command whose disk was full ends with a traceback")
        if left := self._unfinished() - unfinished:
            self.wrong.append(f"a full disk leaves {len(left)} unfinished files behind: {min(left)}")
        filler.unlink()
        return ended

    def _unfinished(self) -> set[Path]:
        return {file for file in self.store.rglob("*.tmp") if file.is_file()}

    def _said_since(self, before: int) -> str:
        return self.log.read_bytes()[before:].decode(errors="replace")


def _mount(folder: Path) -> bool:
    """Give a folder a small disk of its own, in memory; returns whether this machine lets it."""
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)]
    try:
        return subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
    except OSError:
        return False
