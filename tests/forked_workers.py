"""Ray's worker processes, forked from one that has imported torch, transformers and pandas.

These imports are four of the five CPU seconds of an actor with a model, and the suite starts some hundreds of them.
Raylets start workers as ever, but with an interpreter that asks the process of this module to fork. Everything else
that is called with it, workers with a runtime environment included, becomes the real interpreter. `ray start` and
installed wheels know nothing of it, so that tests of those start workers from nothing.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# Ray itself, and all that imports it, is never among them: when it is imported it reads which job and which raylet a
# worker belongs to.
_IMPORTED = (
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "torch.distributed",
    "transformers.models.auto.modeling_auto",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "latent_core.kinds",
    "latent_core.policy.learner",
    "latent_core.reward.training.trainer",
    "latent_core.search",
)
_LAUNCHER = """#!{python} -IS
import os, sys
arguments = sys.argv[1:]
if arguments[0].endswith("default_worker.py"):
    import json, socket
    with socket.socket(socket.AF_UNIX) as server:
        server.connect({address!r})
        message = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(message)
        server.recv(1)
else:
    os.execv({python!r}, [{python!r}, *arguments])
"""
VARIABLE = "FORKING_INTERPRETER"
"""Of the environment: where processes that start a cluster find the interpreter."""
_TITLE = "-" * 200
"""An argument that leaves room for what Ray calls a process."""


@contextlib.contextmanager
def forking_interpreter(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """The path of an interpreter that forks workers, while the context is entered.

    Args:
        folder: For the interpreter and the socket on which it is answered.
        variables: The environment in which modules are imported; libraries read some of it only then.
    """
    address = str(folder / "fork")
    launcher = folder / "python"
    launcher.write_text(_LAUNCHER.format(python=sys.executable, address=address))
    launcher.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, __file__, address, _TITLE],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", "no process to fork workers from"
        yield str(launcher)


def _serve(address: str) -> None:
    """Fork a worker whenever one is asked for, until nobody is left to ask."""
    # The folder of this file: workers cannot import tests.
    sys.path.pop(0)
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(64)
    os.write(1, b"ready\n")
    while server in select.select([server, sys.stdin], [], [])[0]:
        client, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _become_worker(client)
        client.close()


def _become_worker(client: socket.socket) -> None:
    """Run Ray's default_worker.py with the arguments, environment, folder and outputs that the raylet gave it."""
    head, descriptors, _, _ = socket.recv_fds(client, 8, 3)
    with client.makefile("rb") as stream:
        arguments, variables, folder = json.loads(stream.read(int.from_bytes(head, "big")))
    for descriptor, sent in enumerate(descriptors):
        os.dup2(sent, descriptor)
        os.close(sent)
    client.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    np.random.seed()  # noqa: NPY002
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    runpy.run_path(arguments[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    _serve(sys.argv[1])
