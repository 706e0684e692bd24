"""Forked workers of a local Ray cluster: its processes begin with what a command has imported already.

Imports are four of the five CPU seconds of an actor with a model, and more than half of what any other process of Ray
costs. A command imports the same before it plans. It forks a process there, which does nothing but fork again whenever
Ray wants a worker (`orchestrator/pipeline/fork_server.py`). Workers start from nothing on all other clusters, where
actors have GPUs, whose driver nobody has tried this with, and where plugins give them an environment of their own.
"""

import atexit
import ctypes
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from latent_core.plugins import loaded_plugins
from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline.fork_server import serve, write_launcher
from orchestrator.pipeline.interrupts import INTERRUPT_THREAD
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT

# Ray itself, and all that imports it, is never among them: when it is imported it reads which job and which raylet a
# worker belongs to.
_IMPORTED = (
    "pyarrow.dataset",
    "pyarrow.parquet",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "latent_core.kinds",
    "latent_core.search",
    "workers.reasoner",
    "workers.scorer",
)
_OPENMP = "OMP_WAIT_POLICY"
_MALLOPT = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}
"""Numbers of glibc's parameters, which it reads from the environment only when a process begins."""

logger = logging.getLogger(__name__)
_interpreter: str | None = None


def interpreter() -> str:
    """Return the interpreter with which a local cluster is to start its processes."""
    return _interpreter or sys.executable


@contextmanager
def forked_workers(
    cluster: ClusterConfig, *, gpus: float, modules: Sequence[str] = (), wanted: bool = True
) -> Iterator[Callable[[], None]]:
    """Let a local cluster that is started while the context is entered fork its workers, if it can.

    Yields what is to be called when model code has been imported and nothing has been computed: a fork has none of the
    threads that computing starts.

    Args:
        cluster: Where it is.
        gpus: What its actors need of them.
        modules: What its workers import besides models.
        wanted: Whether there will be a cluster at all.
    """
    if wanted and _is_possible(cluster, gpus):
        # Read when torch is imported; a local cluster has it in its environment anyway.
        os.environ.setdefault(_OPENMP, LOCAL_ENVIRONMENT[_OPENMP])
    with ExitStack() as stack:
        yield lambda: _start(stack, modules) if wanted and _is_possible(cluster, gpus) else None


def _is_possible(cluster: ClusterConfig, gpus: float) -> bool:
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    threads = {thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}
    return (
        sys.platform == "linux"
        and _interpreter is None
        and address == "local"
        and not gpus
        and not loaded_plugins()
        and "ray" not in sys.modules
        and threads <= {INTERRUPT_THREAD}
    )


def _start(stack: ExitStack, modules: Sequence[str]) -> None:
    for name in (*_IMPORTED, *modules):
        import_module(name)
    try:
        folder = Path(tempfile.mkdtemp(prefix="latentswarm-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        launcher, server = write_launcher(folder)
        with server:
            # A place that lets no program run shows here, not in a raylet; so does a path that is too long.
            subprocess.run([launcher], check=True, timeout=10)
            waiting, ending = os.pipe()
            process = _fork(lambda: _serve(server, waiting, folder), ending)
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("Ray's workers are not forked: %s", error)
        return
    os.close(waiting)
    stack.callback(_end, process, ending)
    _set_interpreter(str(launcher))
    stack.callback(_set_interpreter, None)


def _serve(server: socket.socket, until: int, folder: Path) -> None:
    serve(server, until)
    # A command that was killed leaves nothing either.
    shutil.rmtree(folder, ignore_errors=True)


def _set_interpreter(path: str | None) -> None:
    global _interpreter
    _interpreter = path


def _end(process: int, ending: int) -> None:
    os.close(ending)
    with suppress(ChildProcessError):
        os.waitpid(process, 0)


def _fork(work: Callable[[], None], ending: int) -> int:
    """Fork a process that does some work and nothing of what this one has still to do; returns its id."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Libraries of linear algebra keep threads, which they take care of.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            _work(work, ending, blocked)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return process


def _work(work: Callable[[], None], ending: int, blocked: set[int | signal.Signals]) -> NoReturn:
    try:
        os.close(ending)
        # A signal to this process or to a worker is none to the command.
        if (wakeup := signal.set_wakeup_fd(-1)) >= 0:
            os.close(wakeup)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.setsid()
        # What the command wants to be done at its end, temporary folders removed, say, is not done by a worker.
        atexit._clear()
        _set_memory_parameters()
        work()
    except BaseException:  # noqa: BLE001 - it is said here; the frames below are the command's
        traceback.print_exc()
    finally:
        os._exit(0)


def _set_memory_parameters() -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, parameter in _MALLOPT.items():
            mallopt(parameter, int(os.environ.get(name, LOCAL_ENVIRONMENT[name])))
