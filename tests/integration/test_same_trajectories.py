"""A trajectory is what its address says, however the work was cut, wherever it ran, and whatever died meanwhile."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray

from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.pipeline.cluster import reasoner_pool
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from workers.pool import NAMESPACE

SAMPLES = 32
TOLERANCE = 1e-5
Build = Callable[..., RunConfig]


def sample(
    config: RunConfig, samples: tuple[int, ...] = (SAMPLES,), during: Callable[[tuple[str, ...]], None] | None = None
) -> pd.DataFrame:
    """Sample a setting, one budget after the other, and return what the store then holds."""
    plan = make_plan(config)
    with reasoner_pool(plan.config, plan.checkpoint.fingerprint) as reasoners:
        sampling = Sampling(plan.problems, reasoners, config.micro_batch, config.store.samples_per_shard)
        trial = plan.trial("setting", config.sampler)
        thread = threading.Thread(target=during, args=(reasoners,)) if during else None
        if thread:
            thread.start()
        for n in samples:
            sampling.run(trial, n, create_board())
        if thread:
            thread.join()
    return stored(plan, config)


def stored(plan: Plan, config: RunConfig) -> pd.DataFrame:
    return plan.trial("setting", config.sampler).store.read(len(plan.problems), SAMPLES)


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert len(one) == len(other) == 16 * SAMPLES
    for column in ("question_id", "sample_index", "answer_text", "answer", "correct"):
        assert one[column].tolist() == other[column].tolist(), column
    latents = [np.stack(rows["latents"].to_list()) for rows in (one, other)]
    np.testing.assert_allclose(*latents, atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def reference(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunConfig], pd.DataFrame]:
    """The undisturbed run: blocks of 8 questions, one actor, all samples at once; per sampler setting, once."""
    known: dict[str, pd.DataFrame] = {}

    def of(config: RunConfig) -> pd.DataFrame:
        key = config.sampler.describe()
        if key not in known:
            store = config.store.model_copy(update={"path": str(tmp_path_factory.mktemp("reference"))})
            known[key] = sample(config.model_copy(update={"store": store, "micro_batch": 8, "actors": 1}))
        return known[key]

    return of


@pytest.mark.parametrize(
    "sampler",
    [
        {"kind": "gaussian", "sigma": 0.5, "relative": True},
        {"kind": "mc_dropout", "p": 0.15},
        {"kind": "answer_sampling", "temperature": 1.0},
    ],
    ids=lambda sampler: str(sampler["kind"]),
)
def test_micro_batch_of_one_question(reference: Any, small_config: Build, sampler: dict[str, Any]) -> None:
    config = small_config(sampler=sampler, micro_batch=1)
    assert_same(reference(config), sample(config))


def test_three_actors(reference: Any, small_config: Build) -> None:
    config = small_config(actors=3, micro_batch=2)
    assert_same(reference(config), sample(config))


def test_eight_samples_extended_to_thirty_two(reference: Any, small_config: Build) -> None:
    config = small_config(micro_batch=8)
    assert_same(reference(config), sample(config, samples=(8, SAMPLES)))
    directory = Path(make_plan(config).trial("setting", config.sampler).store.directory)
    names = sorted(file.name for file in directory.glob("*.parquet"))
    assert [name.split("_")[1] for name in names] == ["s00000-00008", "s00008-00032"] * 2


def test_an_actor_killed_in_the_middle(reference: Any, small_config: Build) -> None:
    config = small_config(actors=2, micro_batch=1, store={**small_config().store.model_dump(), "samples_per_shard": 4})
    store = make_plan(config).trial("setting", config.sampler).store
    killed: list[int] = []

    def kill_one(reasoners: tuple[str, ...]) -> None:
        deadline = time.monotonic() + 120
        while not store.shards() and time.monotonic() < deadline:
            time.sleep(0.01)
        victim = ray.get_actor(reasoners[0], namespace=NAMESPACE)
        killed.append(ray.get(victim.process_id.remote()))
        os.kill(killed[0], signal.SIGKILL)

    assert_same(reference(config), sample(config, during=kill_one))
    assert killed
    assert len(store.shards()) == 16 * SAMPLES // 4
