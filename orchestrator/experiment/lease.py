"""Lease of a run directory: one writer at a time, on one machine or on a disk that many share.

A file says who writes: host, process, and by its time of change when there was last a sign of life. A dead process on
this machine is noticed at once, one elsewhere, or one that stands still, when its lease has run out. A process that
was stopped for so long learns of it as soon as it goes on, before it writes anything more. Imports no torch.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from latent_core.errors import UserError

LEASE_FILE = ".lease"
LEASE_VARIABLE = "LATENTSWARM_LEASE_SECONDS"
"""How long a process is taken for alive that gives no sign of life."""
_LEASE_SECONDS = 60.0
_BEATS_PER_LEASE = 12
_CLAIM_SECONDS = 5.0
"""How long two commands that begin at the same moment wait for each other."""
_LAST_WORDS_SECONDS = 15.0


class LeaseLost(KeyboardInterrupt):
    """Another process writes where this one did.

    An interrupt, since whatever is going on has to end, and nothing may take it for a failure of its own.
    """


@dataclass(frozen=True)
class Owner:
    """Writer of a run directory, as its lease names it.

    Attributes:
        command: What it was called as: "run", "sweep", "annotate", "train-rm" or "train-policy".
        host: Name of its machine, for people.
        machine: Which boot of which machine, and which process namespace: process ids mean nothing elsewhere.
        process: Its process id.
        process_began: When that process began, in clock ticks; ids are used again.
        token: Tells this lease from all others.
        began: When it took the directory.
        seconds: How long it is taken for alive without a sign of life.
        ended: When it gave the directory back; None as long as it has not.
    """

    command: str
    host: str
    machine: str
    process: int
    process_began: str | None
    token: str
    began: str
    seconds: float
    ended: str | None = None

    @property
    def words(self) -> str:
        """Who it is, for people."""
        return f"process {self.process} on {self.host}"


def read_owner(out: Path) -> Owner | None:
    """Read who writes to a run directory, or was the last to; None where no lease was ever taken or it says nothing."""
    try:
        return _parse((out / LEASE_FILE).read_bytes())
    except OSError:
        return None


def is_alive(out: Path, owner: Owner, now: float | None = None) -> bool:
    """Whether the owner of a run directory is at work.

    Args:
        out: The run directory.
        owner: What its lease says.
        now: The time by the clock that dates files there; by default this machine's.
    """
    if owner.ended is not None:
        return False
    if owner.machine == _machine() and _process_began(owner.process) != owner.process_began:
        return False
    try:
        last_sign = (out / LEASE_FILE).stat().st_mtime
    except OSError:
        return False
    return (time.time() if now is None else now) - last_sign < owner.seconds


class Lease:
    """Right to write to a run directory, a context manager."""

    def __init__(self, out: Path, command: str) -> None:
        """Name the directory and the command; nothing is taken yet."""
        seconds = _lease_seconds()
        pid = os.getpid()
        self._out, self._file = out, out / LEASE_FILE
        self._owner = Owner(
            command=command,
            host=socket.gethostname(),
            machine=_machine(),
            process=pid,
            process_began=_process_began(pid),
            token=uuid.uuid4().hex,
            began=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=seconds,
        )
        self._lost: LeaseLost | None = None
        self.told = False
        """Whether the main thread has heard that the lease is lost: once is enough to end what it does."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True, name="lease")

    def __enter__(self) -> "Lease":
        """Take the directory, which is made where it does not exist.

        Raises:
            UserError: If another process writes there, or nobody can.
        """
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._claim()
        except OSError as error:
            raise UserError(f"--out {self._out}: cannot be written: {error}") from error
        _held.append(self)
        _listen()
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Give the directory back, unless it is another's by now.

        Raises:
            LeaseLost: If it is, in place of an interrupt that does not say so: calls into Ray make one of their own of
                whatever is raised while they wait.
        """
        self._stop.set()
        _held.remove(self)
        if self._lost is not None and isinstance(error, KeyboardInterrupt) and error is not self._lost:
            raise self._lost from error
        # A directory that has become unwritable is what the command ends with, not this.
        with contextlib.suppress(OSError, LeaseLost):
            self.renew()
            self._file.write_bytes(_plain(replace(self._owner, ended=datetime.now(UTC).isoformat(timespec="seconds"))))

    @property
    def is_lost(self) -> bool:
        """Whether the directory has turned out to be another's by now."""
        return self._lost is not None

    def renew(self) -> None:
        """Give a sign of life.

        Raises:
            LeaseLost: If the directory is another's by now.
            OSError: If the lease can be neither read nor dated.
        """
        found = _parse(self._file.read_bytes())
        if found is None or found.token != self._owner.token:
            self._lost = self._lost or LeaseLost(self._why_lost(found))
            raise self._lost
        os.utime(self._file)

    def _claim(self) -> None:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = self._lock(descriptor)
            before = _parse(os.pread(descriptor, 1 << 16, 0))
            if before is not None and is_alive(self._out, before, self._clock()):
                raise UserError(self._refusal(before))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _plain(self._owner), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not locked:
            # Where a file system knows no locks, the last of two that begin at the same moment wins.
            time.sleep(1.0)
            now = read_owner(self._out)
            if now is not None and now.token != self._owner.token:
                raise UserError(self._refusal(now))

    def _lock(self, descriptor: int) -> bool:
        """Lock the file until it is closed; returns whether its file system can."""
        deadline = time.monotonic() + _CLAIM_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"--out {self._out}: another command is just beginning there") from None
                time.sleep(0.05)
            except OSError:
                return False
            else:
                return True

    def _clock(self) -> float:
        """Return the time by the clock of whoever dates files in the directory, which may be a server."""
        with tempfile.TemporaryFile(dir=self._out) as probe:
            probe.write(b".")
            probe.flush()
            return os.fstat(probe.fileno()).st_mtime

    def _refusal(self, other: Owner) -> str:
        return (
            f"--out {self._out}: `latentswarm {other.command}` writes there since {other.began} ({other.words}); wait "
            f"for it, end it, or choose another --out; a process that gives no sign of life for {other.seconds:g} s is "
            "taken for dead"
        )

    def _why_lost(self, other: Owner | None) -> str:
        by = other.words if other else "somebody"
        return (
            f"--out {self._out}: this process stood still for longer than its lease of {self._owner.seconds:g} s, and "
            f"{by} has taken the directory over; it ends here and writes nothing more"
        )

    def _beat_on(self) -> None:
        while not self._stop.wait(self._owner.seconds / _BEATS_PER_LEASE):
            try:
                self.renew()
            except OSError:
                # A file server that is away for a while: as long as nobody else can write, nothing is lost.
                continue
            except LeaseLost as lost:
                # The handler looks again, and ends whatever the main thread is doing.
                os.kill(os.getpid(), signal.SIGCONT)
                if not self._stop.wait(_LAST_WORDS_SECONDS):
                    sys.stderr.write(f"latentswarm: {lost}\n")
                    os._exit(1)
                return


_held: list[Lease] = []


def lease_is_lost() -> bool:
    """Whether another process writes by now where this one did, whatever the exception says that tells of it."""
    return any(lease.is_lost for lease in _held)


def _listen() -> None:
    """Look at the leases of this process as soon as it goes on after having been stopped."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCONT, _continued)


def _continued(_signal: int, _frame: FrameType | None) -> None:
    for lease in _held:
        if lease.told:
            continue
        with contextlib.suppress(OSError):
            try:
                lease.renew()
            except LeaseLost:
                lease.told = True
                raise


def _lease_seconds() -> float:
    text = os.environ.get(LEASE_VARIABLE)
    try:
        seconds = float(text) if text else _LEASE_SECONDS
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise UserError(f"{LEASE_VARIABLE}={text}: expected a number of seconds from 1 to 86400")
    return seconds


def _plain(owner: Owner) -> bytes:
    return (json.dumps(asdict(owner), indent=2) + "\n").encode()


def _parse(content: bytes) -> Owner | None:
    try:
        return Owner(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _machine() -> str:
    return "|".join([socket.gethostname(), *_read_facts()])


def _read_facts() -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError):
        yield os.readlink("/proc/self/ns/pid")


def _process_began(process: int) -> str | None:
    """Return when a living process of this machine began, in clock ticks since its boot; None where there is none.

    None for every process where the system does not tell: its sign of life then has to do.
    """
    try:
        # The name in parentheses may hold anything, spaces too.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
