"""From stored beams to points of a curve."""

from pathlib import Path

import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.analysis.beams import evaluate_search
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial

PROBLEMS = tuple(Problem(f"q{index}", "?", "1") for index in range(3))
# Per question, the answers of its beams, the best one first.
ANSWERS = [("1", "7", "7"), ("7", "1", "1"), ("1", None, "error")]
SCORES = (2.0, 1.5, 1.0)


@pytest.fixture
def search(tmp_path: Path) -> Trial:
    """Three questions, searched with three beams of four candidates each; nothing is stored yet."""
    spec = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32", BeamShape(3, 4, "r", "f"))
    store = TrajectoryStore(str(tmp_path), spec)
    store.prepare()
    return Trial("gaussian sigma=0.4 beam 3x4", "gaussian", 3, (12,), store)


def store_beams(search: Trial, questions: int = 3) -> None:
    rows = []
    for problem, answers in zip(PROBLEMS[:questions], ANSWERS, strict=False):
        for rank, answer in enumerate(answers):
            if answer == "error":
                rows.append(Trajectory.failed(problem, rank, "non-finite latent at step 1"))
            else:
                right = problem.is_correct(answer)
                rows.append(Trajectory(problem.question_id, rank, "", answer, right, 2, 1, (), None, 10.0, 5.0, 0.1))
    table = trajectory_table(rows, 0, 3)
    prompts = [0.0 if row.error else 3.0 for row in rows]
    costs = [0.0 if row.error else 1.0 for row in rows]
    scores = [None if row.error else SCORES[row.sample_index] for row in rows]
    for name, values in (("score", scores), ("score_prompt_flops", prompts), ("score_flops", costs)):
        table = table.append_column(name, pa.array(values, pa.float64()))
    search.store.write(Shard(0, questions, 0, 3), table)


def test_the_best_beam_answers_or_all_vote(search: Trial) -> None:
    store_beams(search)
    found = evaluate_search(search, PROBLEMS, None)
    assert found is not None
    assert found.n == 12
    assert found.by_question["beam_search"].tolist() == [1.0, 0.0, 1.0]
    # Neither failures nor answers that cannot be read have a vote.
    assert found.by_question["beam_vote"].tolist() == [0.0, 1.0, 1.0]
    rows = {row.aggregation: row for row in found.points("gaussian sigma=0.4")}
    assert set(rows) == {"beam_search", "beam_vote"}
    for row in rows.values():
        assert (row.trial, row.sampler, row.n, row.trajectories) == ("gaussian sigma=0.4", "gaussian", 12, 36)
        assert row.value == pytest.approx(2 / 3)


@pytest.mark.parametrize(("temperature", "right"), [(100.0, [0.0, 1.0, 1.0]), (0.1, [1.0, 0.0, 1.0])])
def test_votes_weigh_what_their_scores_are_worth(search: Trial, temperature: float, right: list[float]) -> None:
    """Warm weights count beams; with cold ones two votes at exp(-5) and exp(-10) do not outweigh the best."""
    store_beams(search)
    found = evaluate_search(search, PROBLEMS, VoteCalibration(temperature=temperature))
    assert found is not None
    assert found.by_question["beam_vote"].tolist() == right
    assert found.by_question["beam_search"].tolist() == [1.0, 0.0, 1.0]


def test_the_cost_counts_every_prompt_once_and_every_beam(search: Trial) -> None:
    store_beams(search)
    found = evaluate_search(search, PROBLEMS, None)
    assert found is not None
    assert found.flops == 3 * (10.0 + 3.0) + 8 * (5.0 + 1.0)


def test_failures_are_counted(search: Trial) -> None:
    store_beams(search)
    found = evaluate_search(search, PROBLEMS, None)
    assert found is not None
    assert found.summary == {
        "trial": "gaussian sigma=0.4 beam 3x4",
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "beams": 3,
        "candidates": 4,
        "trajectories": 9,
        "errors": 1,
        "first_error": "non-finite latent at step 1",
        "unparsable": 1,
        "cut": 0,
        "cut_answers": "abstain",
        "store": search.store.spec.key,
    }


@pytest.mark.parametrize("questions", [0, 2])
def test_an_unfinished_search_is_no_result(search: Trial, questions: int) -> None:
    """A mean over some of the questions would stand beside means over all of them."""
    if questions:
        store_beams(search, questions)
    assert evaluate_search(search, PROBLEMS, None) is None
