"""Fork server for Ray's worker processes: an interpreter for raylets, and the process that forks what they start.

Raylets start workers as ever, but with a small program (`orchestrator/pipeline/worker_launcher.py`) in place of the
interpreter; it passes arguments, environment, folder and files on to the server, which forks a process that becomes the
worker.
"""

import atexit
import gc
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np

from orchestrator.pipeline import worker_launcher

_OOM_SCORE = "RAY_worker_oom_score_adjustment"
_OOM_SCORE_OF_WORKERS = "1000"
"""What Ray gives to processes that it starts itself: where memory ends, the system ends workers before drivers."""


def write_launcher(folder: Path) -> tuple[Path, socket.socket]:
    """Write the interpreter for raylets; returns its path, and the socket that `serve` takes.

    Args:
        folder: For both; nobody else may write there.

    Raises:
        OSError: If they cannot be there, say because the path is too long for a socket.
    """
    address, launcher = folder / worker_launcher.ADDRESS, folder / "python"
    program = Path(worker_launcher.__file__).read_text(encoding="utf-8")
    launcher.write_text(f"#!{sys.executable} -IS\n{program}", encoding="utf-8")
    launcher.chmod(0o700)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(str(address))
        server.listen(64)
    except OSError:
        server.close()
        raise
    return launcher, server


def serve(server: socket.socket, until: int) -> None:
    """Fork a worker whenever one is asked for.

    Args:
        server: Where it is asked for.
        until: A file descriptor; the end of what can be read from it, or anything in it, ends the server.
    """
    # What is there stays, and looking through it would give every worker a copy of its own.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if until in select.select([server.fileno(), until], [], [])[0]:
            return
        client, _ = server.accept()
        if os.fork() == 0:
            server.close()
            os.close(until)
            _become_worker(client)
        client.close()


def _become_worker(client: socket.socket) -> NoReturn:
    """Run Ray's default_worker.py as if the raylet had started it, and end the process."""
    code = 1
    try:
        head, descriptors, _, _ = socket.recv_fds(client, 8, 3)
        with client.makefile("rb") as stream:
            content = json.loads(stream.read(int.from_bytes(head, "big")))
        arguments, variables, folder, files, niceness = content
        for descriptor, sent in enumerate(descriptors):
            os.dup2(sent, descriptor)
            os.close(sent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(folder)
        os.nice(niceness - os.nice(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(variables.get(_OOM_SCORE, _OOM_SCORE_OF_WORKERS), "ascii")
        # From here on the launcher need not start a worker itself.
        client.sendall(b"1")
        client.close()
        np.random.seed()  # noqa: NPY002 - whatever library draws from it would draw the same in every worker
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - it is said here; there is nobody else to catch it
        traceback.print_exc()
    finally:
        # Neither frames nor handlers of the process from which this one was forked are its own to leave.
        atexit._run_exitfuncs()
        for output in (sys.stdout, sys.stderr):
            if output is not None:
                output.flush()
        os._exit(code)
