"""What of a setting has been sampled and is still to be scored."""

from pathlib import Path

import pytest
from support import trajectory_table

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial

SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Four questions, eight samples; nothing is stored yet."""
    store = TrajectoryStore(str(tmp_path), SPEC, "float16")
    scored = Scored(ScoreStore(store, ScoreSpec("rm", "float32", False, "float16")))
    store.prepare()
    scored.store.prepare()
    return Trial("name", "gaussian", 8, (8,), store, scored)


def put(store: TrajectoryStore | ScoreStore, shard: Shard) -> None:
    failed = Trajectory.failed(Problem("q", "?", "1"), 0, "no")
    store.write(shard, trajectory_table([failed], 0, 1, store.latents))


def test_nothing_sampled_is_nothing_to_score(trial: Trial) -> None:
    assert trial.coverage(4, 8).unscored(2, 4) == []


def test_only_what_is_there_without_a_score_is_to_be_scored(trial: Trial) -> None:
    assert trial.scored is not None
    put(trial.store, Shard(0, 2, 0, 8))
    put(trial.store, Shard(2, 3, 0, 4))
    assert trial.coverage(4, 8).unscored(2, 4) == [Shard(0, 2, 0, 4), Shard(0, 2, 4, 8), Shard(2, 3, 0, 4)]
    put(trial.scored.store, Shard(0, 1, 0, 8))
    put(trial.scored.store, Shard(2, 3, 0, 2))
    assert trial.coverage(4, 8).unscored(2, 4) == [Shard(1, 2, 0, 4), Shard(1, 2, 4, 8), Shard(2, 3, 2, 4)]
    assert trial.coverage(4, 3).unscored(2, 4) == [Shard(1, 2, 0, 3), Shard(2, 3, 2, 3)]


def test_scores_without_trajectories_ask_for_nothing(trial: Trial) -> None:
    assert trial.scored is not None
    put(trial.scored.store, Shard(0, 4, 0, 8))
    assert trial.coverage(4, 8).unscored(2, 4) == []


def test_trajectories_without_latents_cannot_be_scored_as_they_are(trial: Trial) -> None:
    """They are sampled again instead."""
    put(TrajectoryStore(trial.store.root, SPEC), Shard(0, 4, 0, 8))
    assert trial.coverage(4, 8).unscored(2, 4) == []
    assert not trial.store.covered(4, 8).any()


def test_nothing_is_to_be_scored_where_nobody_scores(trial: Trial) -> None:
    put(trial.store, Shard(0, 4, 0, 8))
    assert Trial("name", "gaussian", 8, (8,), trial.store).coverage(4, 8).unscored(2, 4) == []
