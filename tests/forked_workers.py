"""Ray's worker processes of tests, forked from one that has imported torch, transformers and pandas.

Commands fork theirs from themselves (`orchestrator/pipeline/forked_workers.py`). Those of tests cannot, since they are
forks of a process that has imported Ray, and the suite starts clusters by itself too: one process serves all of them.
`ray start` and installed wheels know nothing of it.
"""

import contextlib
import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.pipeline.fork_server import serve, write_launcher

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
    launcher, listening = write_launcher(folder)
    with subprocess.Popen(
        [sys.executable, __file__, str(listening.fileno()), _TITLE],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[listening.fileno()],
        start_new_session=True,
    ) as server:
        # Whoever asks a server that is no more is refused, and starts a worker itself.
        listening.close()
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", "no process to fork workers from"
        yield str(launcher)


if __name__ == "__main__":
    # The folder of this file: workers cannot import tests.
    sys.path.pop(0)
    for name in _IMPORTED:
        importlib.import_module(name)
    os.write(1, b"ready\n")
    serve(socket.socket(fileno=int(sys.argv[1])), sys.stdin.fileno())
