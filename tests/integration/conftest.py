"""Real Ray, real MLflow, the bundled reasoner."""

import atexit
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.data
import yaml
from commands import run_command
from forked_workers import VARIABLE, forking_interpreter
from support import CLUSTER, Command, WriteConfig, environment

from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT


class _End:
    """Ends this process when everything has been reported, with handlers of Python's end, and without Python's end.

    Clusters of one module after another leave threads of Ray behind: once, all tests had passed and been reported, what
    libraries do when a process ends crashed it. What commands return is asked of processes of their own.
    """

    status: int | None = None

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.status = int(exitstatus)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        # Anything else than results pytest has still to say.
        if self.status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.status)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_End())


@pytest.fixture(scope="session", autouse=True)
def forked_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The interpreter with which clusters of tests and commands start their workers."""
    variables = environment() | LOCAL_ENVIRONMENT
    with (
        forking_interpreter(tmp_path_factory.mktemp("workers"), variables) as interpreter,
        pytest.MonkeyPatch.context() as said,
    ):
        said.setenv(VARIABLE, interpreter)
        yield interpreter


@pytest.fixture(scope="module")
def local_ray(forked_workers: str) -> Iterator[None]:
    """A local cluster for a module of tests that use the pipeline directly; others start with no Ray in the process."""
    with pytest.MonkeyPatch.context() as said:
        said.setattr(sys, "executable", forked_workers)
        ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, namespace="latentswarm")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.issue_detectors_config.detectors = []
    yield
    ray.shutdown()


_HOST = f"""
import os, sys, ray
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT
os.environ.update(LOCAL_ENVIRONMENT)
sys.executable = os.environ["{VARIABLE}"]
started = ray.init(address="local", num_cpus=16, include_dashboard=False, log_to_driver=False)
print(started.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def running_cluster(forked_workers: str) -> Iterator[dict[str, str]]:
    """A cluster that stays: the variables with which commands find it."""
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # Workers that are started at once would wait for a driver that never uses them.
    lean = {"RAY_prestart_worker_first_driver": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", _HOST],
        cwd=Path(__file__).parents[2],
        env=environment() | access | lean,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        address = host.stdout.readline().strip()
        assert address, "no cluster"
        yield {**access, "RAY_ADDRESS": address}
        host.stdin.close()


@pytest.fixture(scope="module")
def shared_cluster(running_cluster: dict[str, str]) -> Iterator[None]:
    """Let the commands of a module meet a running cluster; others start one each, which takes half of a short run."""
    CLUSTER.update(running_cluster)
    yield
    CLUSTER.clear()


@pytest.fixture
def own_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands of a test start a cluster each, although those of its module meet a running one."""
    for name in tuple(CLUSTER):
        monkeypatch.delitem(CLUSTER, name)


@pytest.fixture
def small_config(tmp_path: Path) -> Callable[..., RunConfig]:
    """Build a small run of the bundled reasoner; keyword arguments replace settings."""

    def build(**changes: Any) -> RunConfig:
        settings: dict[str, Any] = {
            "checkpoint": "bundled:coconut-tiny",
            "task": {"name": "word_problems", "limit": 16},
            "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
            "budgets": [1, 4, 8],
            "answer_tokens": 8,
            "store": {"path": str(tmp_path / "store"), "latents": "float32"},
        }
        return parse_config(RunConfig, {**settings, **changes})

    return build


@pytest.fixture
def config_file(tmp_path: Path) -> WriteConfig:
    """Write settings to a YAML file in an empty folder of its own."""

    def write(settings: dict[str, Any]) -> Path:
        file = tmp_path / "experiment.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file

    return write


@pytest.fixture
def latentswarm(tmp_path: Path) -> Command:
    """Run the command line in a process of its own, in an empty folder."""
    return partial(run_command, tmp_path)


@pytest.fixture(scope="session")
def latent_rms(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two LatentRMs for the bundled reasoner, which differ in their heads."""
    reasoner = Checkpoint.open("bundled:coconut-tiny")
    directories = [tmp_path_factory.mktemp("latent-rms") / str(seed) for seed in range(2)]
    for seed, directory in enumerate(directories):
        LatentRewardModel.from_reasoner(reasoner, seed).save(reasoner, directory, RewardCard(score_answer=True))
    return [str(directory) for directory in directories]
