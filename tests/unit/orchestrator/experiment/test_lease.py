"""One writer per run directory: real processes that die, stand still, and come back."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.experiment.lease import LEASE_FILE, LEASE_VARIABLE, Lease, is_alive, read_owner

HOLD = """
import sys, time
from pathlib import Path
from orchestrator import cli
from orchestrator.experiment import lease

def hold(**options):
    out = Path(sys.argv[1])
    with lease.Lease(out, "run"):
        (out / "written").touch()
        print("held", flush=True)
        while True:
            try:
                time.sleep(0.05)
            except KeyboardInterrupt:
                if "as-ray" in sys.argv:
                    # Calls into Ray forget what was raised, and while they wait the process is in one of them.
                    raise KeyboardInterrupt from None
                raise
            with (out / "written").open("a") as file:
                file.write(f"{time.time()}\\n")

cli.latentswarm.commands["run"].callback = hold
sys.exit(cli.main(["run", "config.yaml"]))
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEASE_VARIABLE, "1")


@pytest.fixture
def holder(out: Path, short: None) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that holds the lease, and writes to the directory all the time."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_on_a_directory_is_refused_in_a_line_that_names_the_first(
    out: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(UserError) as refused, Lease(out, "sweep"):
        pass
    message = str(refused.value)
    assert message.startswith(f"--out {out}: `latentswarm run` writes there since ")
    assert f"(process {holder.pid} on {socket.gethostname()})" in message
    assert "taken for dead" in message
    assert "\n" not in message


def test_a_holder_at_work_keeps_it_for_longer_than_a_lease(out: Path, holder: subprocess.Popen[str]) -> None:
    time.sleep(1.5)
    owner = read_owner(out)
    assert owner is not None
    assert is_alive(out, owner)


def test_a_killed_holder_is_noticed_at_once(out: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    owner = read_owner(out)
    assert owner is not None
    assert not is_alive(out, owner)
    with Lease(out, "run"):
        now = read_owner(out)
        assert now is not None
        assert now.process == os.getpid()


def test_a_holder_that_was_stopped_for_longer_than_its_lease_ends_with_one_line_and_writes_nothing(
    out: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    with Lease(out, "run"):
        before = (out / "written").read_bytes()
        holder.send_signal(signal.SIGCONT)
        _, errors = holder.communicate(timeout=10)
        assert holder.returncode == 1
        line = " ".join(errors.split())
        assert line.startswith(f"latentswarm: --out {out}: this process stood still for longer than its lease of 1 s")
        assert f"process {os.getpid()} on" in line
        assert (out / "written").read_bytes() == before
        now = read_owner(out)
        assert now is not None
        assert now.process == os.getpid()
        assert now.ended is None


def test_a_holder_that_waits_for_ray_says_the_same(out: Path, short: None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out), "as-ray"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        with Lease(out, "run"):
            holder.send_signal(signal.SIGCONT)
            _, errors = holder.communicate(timeout=10)
    assert holder.returncode == 1
    assert errors.startswith(f"latentswarm: --out {out}: this process stood still for longer than its lease of 1 s")


def test_a_holder_that_was_stopped_goes_on_where_nobody_has_taken_over(
    out: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    before = (out / "written").stat().st_size
    holder.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    assert holder.poll() is None
    assert (out / "written").stat().st_size > before


def test_two_that_begin_at_the_same_moment(out: Path, short: None) -> None:
    several = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    refused = 0
    deadline = time.monotonic() + 30
    while refused < 2 and time.monotonic() < deadline:
        refused = sum(process.poll() == 2 for process in several)
        time.sleep(0.05)
    alive = [process for process in several if process.poll() is None]
    for process in several:
        process.kill()
        process.communicate()
    assert len(alive) == 1
    assert refused == 2


def test_a_dead_holder_on_another_machine_is_noticed_after_its_lease(out: Path, short: None) -> None:
    with Lease(out, "run"):
        owner = read_owner(out)
    assert owner is not None
    elsewhere = replace(owner, host="far", machine="far", process=1, ended=None)
    (out / LEASE_FILE).write_text(json.dumps(asdict(elsewhere)))
    with pytest.raises(UserError, match="process 1 on far"), Lease(out, "run"):
        pass
    time.sleep(1.1)
    with Lease(out, "run"):
        assert read_owner(out) != elsewhere


def test_a_lease_that_was_given_back_is_free_at_once(out: Path) -> None:
    with Lease(out, "annotate"):
        pass
    owner = read_owner(out)
    assert owner is not None
    assert owner.ended is not None
    assert not is_alive(out, owner)
    with Lease(out, "annotate"):
        pass


def test_a_file_that_says_nothing_holds_nobody_up(out: Path) -> None:
    out.mkdir(parents=True)
    (out / LEASE_FILE).write_text('{"host": ')
    assert read_owner(out) is None
    with Lease(out, "run"):
        assert read_owner(out) is not None


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"--out .*file/run: cannot be written"),
        Lease(tmp_path / "file" / "run", "run"),
    ):
        pass


@pytest.mark.parametrize("text", ["soon", "0", "1e9", "nan"])
def test_a_lease_of_no_length_is_refused(text: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEASE_VARIABLE, text)
    with pytest.raises(UserError, match=f"{LEASE_VARIABLE}={text}: expected a number of seconds"):
        Lease(out, "run")
