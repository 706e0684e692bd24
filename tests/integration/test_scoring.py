"""Scored pipelines: what has been sampled is scored without being sampled again; an actor that dies leaves no trace."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from support import shard_files, stored_rows

from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import make_plan
from orchestrator.pipeline.cluster import reasoner_pool, scorer_pool
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.store.trial import Trial
from workers.pool import NAMESPACE

Build = Callable[..., RunConfig]
QUESTIONS, SAMPLES = 16, 8


@pytest.fixture
def scored_config(small_config: Build, latent_rms: list[str], tmp_path: Path) -> Build:
    """Build a small scored run in shards of 2 questions x 4 samples."""

    def build(**changes: Any) -> RunConfig:
        store = {"path": str(tmp_path / "store"), "samples_per_shard": 4}
        return small_config(**{"scorer": {"checkpoint": latent_rms[0]}, "store": store, "micro_batch": 2, **changes})

    return build


def carry_out(
    config: RunConfig,
    samples: tuple[int, ...] = (SAMPLES,),
    during: Callable[[Trial, tuple[str, ...], tuple[str, ...]], None] | None = None,
) -> Trial:
    """Sample and score a setting, one budget after the other; `during` runs beside it."""
    plan = make_plan(config)
    trial = plan.trial("setting", config.sampler)
    with (
        reasoner_pool(plan.config, plan.checkpoint.fingerprint) as reasoners,
        scorer_pool(plan.config, plan.scorer and plan.scorer.reward.fingerprint) as scorers,
    ):
        per_shard = config.store.samples_per_shard
        sampling = Sampling(plan.problems, reasoners, config.micro_batch, per_shard, scorers)
        thread = threading.Thread(target=during, args=(trial, reasoners, scorers)) if during else None
        if thread:
            thread.start()
        for n in samples:
            sampling.run(trial, n, create_board())
        if thread:
            thread.join()
    return trial


def scores_folder(trial: Trial) -> Path:
    assert trial.scored is not None
    return Path(trial.scored.store.directory)


@pytest.fixture(scope="module")
def reference(
    local_ray: None, latent_rms: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    """What an undisturbed run stores: trajectories and scores."""
    config = RunConfig.model_validate(
        {
            "checkpoint": "bundled:coconut-tiny",
            "task": {"name": "word_problems", "limit": QUESTIONS},
            "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
            "budgets": [1, 4, SAMPLES],
            "answer_tokens": 8,
            "micro_batch": 2,
            "scorer": {"checkpoint": latent_rms[0]},
            "store": {"path": str(tmp_path_factory.mktemp("reference")), "samples_per_shard": 4},
        }
    )
    return contents(carry_out(config))


def contents(trial: Trial) -> dict[str, pd.DataFrame]:
    """All rows of trajectories and scores, each exactly once; what was measured with a clock is left out."""
    found = {
        "trajectories": stored_rows(Path(trial.store.directory)),
        "scores": stored_rows(scores_folder(trial)),
    }
    for rows in found.values():
        assert len(rows) == QUESTIONS * SAMPLES
    return found


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for name, rows in expected.items():
        pd.testing.assert_frame_equal(found[name], rows)


def test_two_latent_rms_score_the_same_trajectories(
    reference: dict[str, pd.DataFrame], scored_config: Build, latent_rms: list[str]
) -> None:
    first = carry_out(scored_config())
    assert_same(contents(first), reference)
    sampled = shard_files(Path(first.store.directory))
    config = scored_config(scorer={"checkpoint": latent_rms[1]})
    plan = make_plan(config)
    second = plan.trial("setting", config.sampler)
    with scorer_pool(plan.config, plan.scorer and plan.scorer.reward.fingerprint) as scorers:
        # No reasoner is there to sample anything.
        Sampling(plan.problems, (), 2, 4, scorers).run(second, SAMPLES, create_board())
    assert second.store.directory == first.store.directory
    now = shard_files(Path(first.store.directory))
    assert {name: now[name] for name in sampled} == sampled
    assert {Path(name).parent for name in now} == {
        Path(first.store.directory),
        scores_folder(first),
        scores_folder(second),
    }
    one, other = (stored_rows(scores_folder(trial)) for trial in (first, second))
    assert len(one) == len(other) == QUESTIONS * SAMPLES
    for column in ("score", "answer_score"):
        assert (one[column] != other[column]).all()
        assert one[column].nunique() == QUESTIONS * SAMPLES


def test_larger_budgets_score_only_what_is_new(reference: dict[str, pd.DataFrame], scored_config: Build) -> None:
    before: dict[str, int] = {}

    def extend(trial: Trial) -> None:
        before.update(shard_files(Path(trial.store.directory)))

    config = scored_config(budgets=[1, 4])
    extend(carry_out(config, samples=(4,)))
    assert len(before) == 2 * QUESTIONS // 2
    trial = carry_out(scored_config())
    after = shard_files(Path(trial.store.directory))
    assert {name: after[name] for name in before} == before
    fresh = {re.search(r"s\d+-\d+", Path(name).name)[0] for name in after.keys() - before.keys()}  # type: ignore[index]
    assert fresh == {"s00004-00008"}
    assert_same(contents(trial), reference)


@pytest.mark.parametrize("victim", ["reasoner", "scorer"])
def test_an_actor_killed_in_the_middle(reference: dict[str, pd.DataFrame], scored_config: Build, victim: str) -> None:
    config = scored_config()
    killed: list[int] = []

    def kill(trial: Trial, reasoners: tuple[str, ...], scorers: tuple[str, ...]) -> None:
        deadline = time.monotonic() + 120
        while not any(scores_folder(trial).glob("q*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.005)
        actor = ray.get_actor((reasoners if victim == "reasoner" else scorers)[0], namespace=NAMESPACE)
        killed.append(ray.get(actor.process_id.remote()))
        os.kill(killed[0], signal.SIGKILL)
        killed.append(len(list(scores_folder(trial).glob("q*.parquet"))))

    trial = carry_out(config, during=kill)
    assert killed[1] < QUESTIONS * SAMPLES // 8, "the actor was killed when all was done"
    assert_same(contents(trial), reference)
