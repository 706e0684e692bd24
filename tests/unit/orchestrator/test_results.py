"""From the store to curves while sampling is going on."""

from pathlib import Path

import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.records import trajectory_table
from orchestrator.results import curves_so_far, reference_answers, sampled_so_far
from orchestrator.setting import Setting
from orchestrator.shards import Shard
from orchestrator.store import SettingStore, TrajectorySpec

PROBLEMS = tuple(Problem(f"q{index}", "?", f"{index}.0") for index in range(3))
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Three questions, eight samples; nothing sampled yet."""
    store = SettingStore(str(tmp_path), SPEC)
    store.prepare()
    return Setting("gaussian sigma=0.4", "gaussian", 8, (1, 2, 4, 8), store)


def sample(setting: Setting, shard: Shard) -> None:
    """Question i is answered right by its samples from i on."""
    rows = []
    for index in range(shard.first_question, shard.end_question):
        for number in range(shard.first_sample, shard.end_sample):
            answer = str(index if number >= index else 99)
            correct = PROBLEMS[index].is_correct(answer)
            rows.append(Trajectory(f"q{index}", number, answer, answer, correct, 2, 1, None, 1.0, 2.0, 0.1))
    setting.store.write(shard, trajectory_table(rows, shard.first_question, shard.samples))


def test_references_are_canonical_where_they_can_be() -> None:
    problems = [Problem("a", "?", "1,200.0"), Problem("b", "?", "blue")]
    assert reference_answers(problems) == {"a": "1200", "b": "blue"}


def test_sampled_so_far_is_what_every_question_has(setting: Setting) -> None:
    assert sampled_so_far(setting, 3) == 0
    sample(setting, Shard(0, 3, 0, 2))
    assert sampled_so_far(setting, 3) == 2
    sample(setting, Shard(0, 2, 2, 8))
    assert sampled_so_far(setting, 3) == 2
    assert sampled_so_far(setting, 2) == 8
    sample(setting, Shard(2, 3, 4, 8))
    # A hole: samples 2 and 3 of the last question are still missing.
    assert sampled_so_far(setting, 3) == 2
    sample(setting, Shard(2, 3, 2, 4))
    assert sampled_so_far(setting, 3) == 8


def test_more_than_asked_for_is_not_counted(setting: Setting) -> None:
    sample(setting, Shard(0, 3, 0, 32))
    assert sampled_so_far(setting, 3) == 8


def test_curves_use_only_the_samples_they_are_asked_for(setting: Setting) -> None:
    sample(setting, Shard(0, 3, 0, 8))
    values = {(row.aggregation, row.n): row.value for row in curves_so_far(setting, PROBLEMS, 2, (1, 2))}
    # Right among the first two samples: both of question 0, one of question 1, none of question 2.
    assert values["coverage", 1] == pytest.approx((1 + 0.5 + 0) / 3)
    assert values["coverage", 2] == pytest.approx((1 + 1 + 0) / 3)
    assert values["majority_vote", 1] == pytest.approx((1 + 0.5 + 0) / 3)
    values = {(row.aggregation, row.n): row.value for row in curves_so_far(setting, PROBLEMS, 8, (1, 8))}
    assert values["coverage", 1] == pytest.approx((1 + 7 / 8 + 6 / 8) / 3)
    assert values["majority_vote", 8] == 1
    rows = curves_so_far(setting, PROBLEMS, 8, (8,))
    assert {(row.trial, row.sampler) for row in rows} == {("gaussian sigma=0.4", "gaussian")}
