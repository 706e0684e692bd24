"""Several nodes: actors go where the configuration says, and a node that dies takes nothing of the results with it."""

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from commands import read_authentication
from ray.cluster_utils import Cluster
from rich.console import Console
from support import shard_files, stored_rows

from latent_core.errors import UserError
from orchestrator.config.environment import ClusterConfig
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import make_plan
from orchestrator.pipeline.cluster import check_resources, connect, reasoner_pool, scorer_pool
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from workers.pool import NAMESPACE

QUESTIONS, SAMPLES = 24, 8
PATIENCE_S = 240
CPUS_PER_NODE = 4


@pytest.fixture
def own_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One for nodes and driver: where nothing is said, the driver takes up the one in HOME, and nodes ask for none."""
    with monkeypatch.context() as said:
        said.setenv("RAY_AUTH_MODE", "token")
        said.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        read_authentication()
        yield
    read_authentication()


@pytest.fixture
def nodes(own_token: None, forked_workers: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that can hold no actor, and two nodes that can."""
    monkeypatch.setattr(sys, "executable", forked_workers)
    # A node that is gone is noticed after seconds, instead of the half minute that networks need.
    notice = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": notice}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=CPUS_PER_NODE)
        connect(ClusterConfig(address=cluster.address), 0, Console(quiet=True))
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def trials(folder: Path, **changes: Any) -> RunConfig:
    return parse_config(
        RunConfig,
        {
            "checkpoint": "bundled:coconut-paths",
            "task": {"name": "path_finding", "limit": QUESTIONS},
            "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
            "budgets": [SAMPLES],
            "answer_tokens": 8,
            "micro_batch": 1,
            "scorer": {"checkpoint": "bundled:latent-rm-tiny"},
            "store": {"path": str(folder)},
            **changes,
        },
    )


def sample(config: RunConfig, during: Callable[..., None] | None = None) -> tuple[list[pd.DataFrame], list[str]]:
    """Sample and score; returns what the store then holds, trajectories and scores, and where the actors were last."""
    check_resources(config)
    plan = make_plan(config)
    trial = plan.trial("setting", config.sampler)
    assert trial.scored is not None
    with (
        reasoner_pool(plan.config, plan.checkpoint.fingerprint) as reasoners,
        scorer_pool(plan.config, plan.scorer and plan.scorer.reward.fingerprint) as scorers,
    ):
        per_shard = config.store.samples_per_shard
        sampling = Sampling(plan.problems, reasoners, config.micro_batch, per_shard, scorers=scorers)
        thread = threading.Thread(target=during, args=(reasoners, scorers)) if during else None
        if thread:
            thread.start()
        sampling.run(trial, SAMPLES, create_board())
        if thread:
            thread.join()
        last = nodes_of((*reasoners, *scorers))
    return [stored_rows(Path(store.directory)) for store in (trial.store, trial.scored.store)], last


def nodes_of(actors: tuple[str, ...]) -> list[str]:
    """The nodes that actors are on, once they have been built."""
    handles: list[Any] = [ray.get_actor(name, namespace=NAMESPACE) for name in actors]
    asked = [handle.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()) for handle in handles]
    return ray.get(asked, timeout=PATIENCE_S)


def test_a_node_that_dies_in_the_middle(nodes: Cluster, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no node has 5 CPUs and 0 GPUs .*1 x \(0 CPUs, 0 GPUs\), 2 x \(4 CPUs"):
        check_resources(trials(tmp_path, actor={"cpus": 5}))

    undisturbed, _ = sample(trials(tmp_path / "undisturbed"))
    before: list[str] = []
    lost: list[str] = []

    def lose_a_node(reasoners: tuple[str, ...], scorers: tuple[str, ...]) -> None:
        before.extend(nodes_of(reasoners))
        deadline = time.monotonic() + PATIENCE_S
        while len(shard_files(tmp_path / "store")) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        # The one with the scorer, so that both stages lose an actor and the tasks that wait for it.
        lost.extend(nodes_of(scorers))
        [victim] = [node for node in nodes.worker_nodes if node.node_id == lost[0]]
        nodes.remove_node(victim, allow_graceful=False)

    spread = trials(tmp_path / "store", actors=2, actor={"per_node": 1})
    disturbed, after = sample(spread, during=lose_a_node)
    assert len(set(before)) == 2
    assert set(lost) < set(before)
    assert set(after) == set(before) - set(lost)
    for one, other in zip(undisturbed, disturbed, strict=True):
        assert len(one) == QUESTIONS * SAMPLES
        pd.testing.assert_frame_equal(one, other)
