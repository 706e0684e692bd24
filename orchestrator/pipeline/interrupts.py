"""Interrupts of a command: Ctrl-C and SIGTERM end it in order, and within a stated time whatever it is waiting for."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

END_SECONDS = 12.0
"""How long a command has to take leave of MLflow and Ray before its process ends regardless."""
INTERRUPT_THREAD = "interrupts"
"""Name of the thread that ends a process where its main thread does not."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM: everything that Ctrl-C ends, it ends too."""


@contextmanager
def interruptible(last_words: Callable[[], str]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into exceptions while a command runs, and end the process where that does not help.

    Handlers of Python wait until the main thread comes back to Python, which a call into a library may never do. The
    system itself tells a thread by way of a socket that there was a signal.

    Args:
        last_words: Returns what to print where the process has to be ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    fd_before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    seen: set[int] = set()

    def handle(number: int, _frame: FrameType | None) -> None:
        # Whoever presses Ctrl-C again would break off what makes an orderly end.
        if not seen:
            seen.add(number)
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    for number in _SIGNALS:
        # Jobs in the background of a script are told to ignore Ctrl-C.
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handle)
    ended = threading.Event()
    threading.Thread(target=_end_late, args=(reading, ended, last_words), daemon=True, name=INTERRUPT_THREAD).start()
    try:
        yield
    except KeyboardInterrupt as interrupt:
        # Calls into Ray make an interrupt of their own of whatever is raised while they wait.
        if type(interrupt) is KeyboardInterrupt and signal.SIGTERM in seen:
            raise Terminated from interrupt
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        writing.close()


@contextmanager
def own_handler_of_sigterm() -> Iterator[None]:
    """Keep this process's answer to SIGTERM while a library begins that would put its own in its place."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what shells expect of a process that a signal has ended."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _end_late(signals: socket.socket, ended: threading.Event, last_words: Callable[[], str]) -> None:
    with signals:
        # Nothing comes any more once the other end is closed. Other signals, such as SIGCONT, end nothing.
        while received := signals.recv(1):
            if received[0] in _SIGNALS:
                break
        else:
            return
    if not ended.wait(END_SECONDS):
        sys.stderr.write(f"latentswarm: {last_words()}\n")
        sys.stderr.flush()
        os._exit(128 + received[0])
