"""The bundled reasoner does what its model card says, and parallel sampling does what the method promises."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.aggregations.coverage import coverage
from latent_core.selection.aggregations.majority_vote import majority_vote
from latent_core.tasks.base import Task
from latent_core.tasks.loading import load_task

BUDGETS = (1, 2, 4, 8, 16, 32, 64)
BLOCK = 32
CARD = Path(__file__).parents[2] / "latent_core" / "bundled" / "coconut-tiny" / "README.md"


@pytest.fixture(scope="module")
def reasoner() -> LatentReasoner:
    return LatentReasoner.from_pretrained("bundled:coconut-tiny")


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(name="word_problems")


def sample(reasoner: LatentReasoner, task: Task, sampler: dict[str, Any], samples: int) -> Outcomes:
    """Sample the whole held-out set and code its answers."""
    rows = []
    for start in range(0, len(task.problems), BLOCK):
        rows += sample_trajectories(
            reasoner,
            parse_sampler(sampler),
            task.problems[start : start + BLOCK],
            range(samples),
            latent_steps=6,
            answer_tokens=8,
            seed=0,
        )
    shape = (len(task.problems), samples)
    codes: dict[str, int] = {}
    votes = [-1 if row.answer is None else codes.setdefault(row.answer, len(codes)) for row in rows]
    correct = np.array([row.correct for row in rows]).reshape(shape)
    return Outcomes(correct=correct, votes=np.array(votes).reshape(shape))


@pytest.fixture(scope="module")
def greedy(reasoner: LatentReasoner, task: Task) -> float:
    return float(coverage(sample(reasoner, task, {"kind": "none"}, 1), 1).mean())


def test_greedy_accuracy_is_what_the_card_says(greedy: float, task: Task) -> None:
    assert len(task.problems) >= 500
    assert 0.35 <= greedy <= 0.75
    said = re.search(r"greedy[^\n]*?\*{0,2}(\d\d\.\d)", CARD.read_text(), re.IGNORECASE)
    assert said is not None
    # One question more or less is what another processor's rounding may do.
    assert greedy == pytest.approx(float(said[1]) / 100, abs=1.5 / len(task.problems))


@pytest.mark.parametrize(
    "sampler",
    [{"kind": "mc_dropout", "p": 0.1}, {"kind": "gaussian", "sigma": 0.4, "relative": True}],
    ids=lambda sampler: str(sampler["kind"]),
)
def test_parallel_sampling_covers_what_greedy_misses(
    reasoner: LatentReasoner, task: Task, greedy: float, sampler: dict[str, Any]
) -> None:
    outcomes = sample(reasoner, task, sampler, 64)
    curve = np.stack([coverage(outcomes, n) for n in BUDGETS])
    assert (np.diff(curve, axis=0) >= -1e-12).all(), "pass@n never falls with n, for any question"
    assert curve[-1].mean() >= greedy + 0.20
    assert majority_vote(outcomes, 64).mean() > curve[0].mean()
