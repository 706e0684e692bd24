"""What the drill disturbs: a Ray cluster of several nodes, a tracking server and sweeps, and how each of them dies."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from orchestrator.experiment.lease import LEASE_VARIABLE
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT

_NODES, _CPUS_PER_NODE = 2, 4
_PATIENCE_S = 300.0
LEASE_SECONDS = 10.0
"""How long a driver that stands still owns its run directory; by default it is a minute, which the drill would wait."""
_CLASSES = {"reasoner": "ReasonerWorker", "scorer": "ScorerWorker"}
"""Classes of actors, as titles of their processes and Ray's table of actors name them."""


class Stage:
    """Cluster, tracking server and the sweeps that use them."""

    def __init__(self, folder: Path) -> None:
        """Start cluster and server; what they write lies below a folder."""
        # The cluster of this process asks for no token; a command that finds one in HOME would ask the cluster for it.
        own = {**LOCAL_ENVIRONMENT, "RAY_AUTH_MODE": "disabled"}
        self._environment = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        self._folder = folder
        self._port = free_port()
        self.tracking_uri = f"http://127.0.0.1:{self._port}"
        self._sweeps: list[subprocess.Popen[bytes]] = []
        self._server = self._start_server()
        self._cluster = self._start_cluster()
        self.victims: dict[str, Callable[[random.Random], None]] = {
            "reasoner": lambda rng: self._kill_actor("reasoner", rng),
            "scorer": lambda rng: self._kill_actor("scorer", rng),
            "node": self._kill_node,
            "tracking server": self._kill_server,
            "cluster": self._kill_cluster,
        }

    def start_sweep(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start `latentswarm sweep` on the cluster, tracked by the server."""
        environment = {
            **os.environ,
            "RAY_ADDRESS": self._cluster.address,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            LEASE_VARIABLE: str(LEASE_SECONDS),
        }
        with log.open("ab") as output:
            sweep = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "sweep", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sweeps.append(sweep)
        return sweep

    def has_actor(self, victim: str) -> bool:
        """Whether there is an actor to be killed."""
        return bool(self._actors(_CLASSES[victim]))

    def close(self) -> None:
        """End everything."""
        for sweep in self._sweeps:
            kill_group(sweep)
        self._cluster.shutdown()
        kill_group(self._server)
        for name, value in self._environment.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

    def _kill_actor(self, victim: str, rng: random.Random) -> None:
        os.kill(rng.choice(self._actors(_CLASSES[victim])), signal.SIGKILL)

    def _actors(self, name: str) -> list[int]:
        return [process for process, title in _descendants() if name in title]

    def _kill_node(self, rng: random.Random) -> None:
        """A node is gone with all that runs on it, actors if there are any, and another one joins in its place."""
        nodes = list(self._cluster.worker_nodes)
        actors = self._cluster.global_state.actor_table(None, None, "ALIVE").values()
        busy = {one["Address"]["NodeID"] for one in actors if one["ActorClassName"] in _CLASSES.values()}
        nodes = [node for node in nodes if node.node_id in busy] or nodes
        self._cluster.remove_node(rng.choice(nodes), allow_graceful=False)
        self._cluster.add_node(num_cpus=_CPUS_PER_NODE)

    def _kill_server(self, rng: random.Random) -> None:
        kill_group(self._server)
        time.sleep(rng.uniform(0.5, 5.0))
        self._server = self._start_server()

    def _kill_cluster(self, rng: random.Random) -> None:
        self._cluster.shutdown()
        self._cluster = self._start_cluster()

    def _start_cluster(self) -> Cluster:
        # A node that is gone is noticed after seconds, instead of the half minute that networks need.
        notice = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
        head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": False, "_system_config": notice}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(_NODES):
            cluster.add_node(num_cpus=_CPUS_PER_NODE)
        return cluster

    def _start_server(self) -> subprocess.Popen[bytes]:
        arguments = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db", "--port", str(self._port)]
        artifacts = ["--artifacts-destination", str(self._folder / "artifacts"), "--workers", "1"]
        # Its job runners, a process each, have nothing to do here.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments, *artifacts],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while not _answers(f"{self.tracking_uri}/health"):
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError("the MLflow server does not start")
            time.sleep(0.2)
        return server


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _descendants() -> list[tuple[int, str]]:
    """Return id and title of every process that this one, or one of its descendants, has started."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything, spaces too.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    found, last = set[int](), {os.getpid()}
    while last:
        last = {process for process, parent in parents.items() if parent in last}
        found |= last
    return [(process, titles[process]) for process in sorted(found) if process in titles]
