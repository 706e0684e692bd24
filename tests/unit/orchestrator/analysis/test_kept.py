"""Replays of stopping rules are kept for as long as nothing that they are made of changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import trajectory_table

from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis.adaptive import AdaptiveRow, parse_asked
from orchestrator.analysis.evaluation import evaluate
from orchestrator.analysis.kept import adaptive as module
from orchestrator.analysis.kept.adaptive import evaluate_adaptive
from orchestrator.analysis.kept.results import RECORD, KeptResults, source_of
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial

QUESTIONS, SAMPLES = 6, 16
TASK = Task("t", tuple(Problem(f"q{q}", "?", "1") for q in range(QUESTIONS)))
Replayed = Callable[..., list[AdaptiveRow]]


def sample(trial: Trial, right: int) -> None:
    """Store answers of which every question has its own number of right ones, and `right` more."""
    rows = []
    for q in range(QUESTIONS):
        for i in range(SAMPLES):
            is_right = i % 8 < q + right
            answer = "1" if is_right else str(2 + i % 3)
            rows.append(Trajectory(f"q{q}", i, answer, answer, is_right, 1, 1, (5,), None, 1.0, 2.0, 0.1))
    trial.store.prepare()
    trial.store.write(Shard(0, QUESTIONS, 0, SAMPLES), trajectory_table(rows, 0, SAMPLES))


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    spec = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 1, 4, 0, "float32")
    one = Trial("g", "gaussian", SAMPLES, (SAMPLES,), TrajectoryStore(str(tmp_path / "store"), spec))
    sample(one, 1)
    return one


@pytest.fixture
def replayed(trial: Trial, tmp_path: Path) -> Replayed:
    def run(*asked: str) -> list[AdaptiveRow]:
        kept = KeptResults(tmp_path)
        rules = [parse_asked(one) for one in asked] or None
        rows = evaluate_adaptive([evaluate(trial, TASK)], TASK, rules, kept=kept)
        kept.save()
        return rows

    return run


def test_they_are_computed_once(
    trial: Trial, replayed: Replayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replayed()
    assert {row.rule.split()[0] for row in first} == {"decided", "posterior", "anytime"}
    with monkeypatch.context() as patch:
        patch.setattr(module, "adaptive_rows", lambda *_: pytest.fail("computed again"))
        assert repr(replayed()) == repr(first)
    sample(trial, 2)
    assert repr(replayed()) != repr(first)
    sample(trial, 1)
    (tmp_path / RECORD).write_text("spoilt")
    assert repr(replayed()) == repr(first)


def test_other_rules_are_other_results(replayed: Replayed) -> None:
    everything = replayed()
    some = replayed("posterior:confidence=0.9")
    assert {row.rule.split()[0] for row in some} == {"posterior"}
    assert repr(replayed()) == repr(everything)


def test_other_source_is_other_code() -> None:
    assert source_of(module) == source_of(module)
    assert source_of(module) != source_of(module, module)
