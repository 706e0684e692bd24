"""What of a setting has been sampled and is still to be scored."""

from pathlib import Path

import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, SettingStore, TrajectorySpec
from orchestrator.store.trial import Scored, Setting
from workers.records import trajectory_table

SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Four questions, eight samples; nothing is stored yet."""
    store = SettingStore(str(tmp_path), SPEC, "float16")
    scored = Scored(ScoreStore(store, ScoreSpec("rm", "float32", False, "float16")))
    store.prepare()
    scored.store.prepare()
    return Setting("name", "gaussian", 8, (8,), store, scored)


def put(store: SettingStore | ScoreStore, shard: Shard) -> None:
    failed = Trajectory.failed(Problem("q", "?", "1"), 0, "no")
    store.write(shard, trajectory_table([failed], 0, 1, store.latents))


def test_nothing_sampled_is_nothing_to_score(setting: Setting) -> None:
    assert setting.unscored(4, 8, 2, 4) == []


def test_only_what_is_there_without_a_score_is_to_be_scored(setting: Setting) -> None:
    assert setting.scored is not None
    put(setting.store, Shard(0, 2, 0, 8))
    put(setting.store, Shard(2, 3, 0, 4))
    assert setting.unscored(4, 8, 2, 4) == [Shard(0, 2, 0, 4), Shard(0, 2, 4, 8), Shard(2, 3, 0, 4)]
    put(setting.scored.store, Shard(0, 1, 0, 8))
    put(setting.scored.store, Shard(2, 3, 0, 2))
    assert setting.unscored(4, 8, 2, 4) == [Shard(1, 2, 0, 4), Shard(1, 2, 4, 8), Shard(2, 3, 2, 4)]
    assert setting.unscored(4, 3, 2, 4) == [Shard(1, 2, 0, 3), Shard(2, 3, 2, 3)]


def test_scores_without_trajectories_ask_for_nothing(setting: Setting) -> None:
    assert setting.scored is not None
    put(setting.scored.store, Shard(0, 4, 0, 8))
    assert setting.unscored(4, 8, 2, 4) == []


def test_trajectories_without_latents_cannot_be_scored_as_they_are(setting: Setting) -> None:
    """They are sampled again instead."""
    put(SettingStore(setting.store.root, SPEC), Shard(0, 4, 0, 8))
    assert setting.unscored(4, 8, 2, 4) == []
    assert not setting.store.covered(4, 8).any()


def test_nothing_is_to_be_scored_where_nobody_scores(setting: Setting) -> None:
    put(setting.store, Shard(0, 4, 0, 8))
    assert Setting("name", "gaussian", 8, (8,), setting.store).unscored(4, 8, 2, 4) == []
