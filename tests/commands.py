"""Commands in processes of their own, forked from one that has imported what they need.

Imports take nine of the thirteen CPU seconds of a short command's process; the suite runs dozens.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from forked_workers import VARIABLE
from ray._raylet import AuthenticationTokenLoader, Config
from support import environment

from orchestrator.cli import main

# Never Ray's own start, nor anything that begins threads: those a fork would lose.
_IMPORTED = (
    "orchestrator.cli",
    "orchestrator.experiment.experiment",
    "orchestrator.experiment.finalize",
    "orchestrator.experiment.command_plans",
    "orchestrator.jobs.annotation",
    "orchestrator.jobs.labelling",
    "orchestrator.jobs.train_rm_job",
    "orchestrator.jobs.train_policy_job",
    "matplotlib.pyplot",
    "mlflow.store.tracking.sqlalchemy_store",
    "plotly.graph_objs.scatter",
    "plotly.io",
    "ray.data._internal.execution.streaming_executor",
    "ray.data._internal.planner.planner",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(_IMPORTED))


def run_command(folder: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `latentswarm` in a folder, and wait for it.

    Args:
        folder: Where it is called.
        arguments: Of the command line.
        timeout: Seconds.

    Raises:
        subprocess.TimeoutExpired: If it takes longer; it is killed then.
    """
    with tempfile.TemporaryDirectory() as logs:
        files = [Path(logs) / name for name in ("stdout", "stderr")]
        process = _forks.Process(target=_command, args=(arguments, str(folder), environment(), *map(str, files)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout, *(file.read_bytes() for file in files))
        texts = [file.read_text() for file in files]
        return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _command(arguments: tuple[str, ...], folder: str, variables: dict[str, str], *files: str) -> None:
    """Become the command."""
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv = ["latentswarm", *arguments]
    sys.executable = variables.get(VARIABLE, sys.executable)
    read_authentication()

    try:
        code = main()
    finally:
        # Processes of this kind leave it out.
        atexit._run_exitfuncs()
    sys.exit(code)


def read_authentication() -> None:
    """Let Ray read anew how it is to authenticate, which it has read when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
