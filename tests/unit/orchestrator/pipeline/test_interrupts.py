"""Signals end a command within a stated time, whatever it is waiting for: real processes that are signalled."""

import signal
import subprocess
import sys
import time

import pytest

COMMAND = """
import ctypes, os, signal, sys, time
from orchestrator.pipeline import interrupts
from orchestrator import cli

interrupts.END_SECONDS = 8.0 if sys.argv[1] == "waits" else 1.0
signal.signal(signal.SIGINT, signal.default_int_handler)

def stuck(**options):
    # A lock that is taken twice: no signal and no exception brings the thread back to Python.
    c, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    c.pthread_mutex_lock(lock)
    print("there", flush=True)
    c.pthread_mutex_lock(lock)

def waits(**options):
    try:
        print("there", flush=True)
        time.sleep(60)
    finally:
        print("ended in order", flush=True)

def slow_end(**options):
    try:
        print("there", flush=True)
        time.sleep(60)
    finally:
        time.sleep(60)

cli.latentswarm.commands["run"].callback = globals()[sys.argv[1]]
sys.exit(cli.main(["run", "config.yaml"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("what", ["waits", "slow_end", "stuck"])
def test_a_signal_ends_a_command_in_time_with_its_code_and_a_line(what: str, number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    began = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors
    assert time.monotonic() - began < 10
    line = " ".join(errors.split())
    assert line.startswith("latentswarm: interrupted; what has been sampled is in the store, and the same command goes")
    assert "Traceback" not in errors
    assert ("ended in order" in output) == (what == "waits")


def test_who_presses_again_does_not_break_off_an_orderly_end() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "slow_end"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.count("latentswarm: interrupted") == 1
