"""From the store to curves while sampling is going on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis.evaluation import CURVE_COLUMNS, blocks, curves_so_far, evaluate, sampled_so_far
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from workers.tables import SCORE_SCHEMA

PROBLEMS = tuple(Problem(f"q{index}", "?", f"{index}.0") for index in range(3))
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Three questions, eight samples; nothing sampled yet."""
    store = TrajectoryStore(str(tmp_path), SPEC)
    store.prepare()
    return Trial("gaussian sigma=0.4", "gaussian", 8, (1, 2, 4, 8), store)


def sample(trial: Trial, shard: Shard) -> None:
    """Question i is answered right by its samples from i on."""
    rows = []
    for index in range(shard.first_question, shard.end_question):
        for number in range(shard.first_sample, shard.end_sample):
            answer = str(index if number >= index else 99)
            correct = PROBLEMS[index].is_correct(answer)
            rows.append(Trajectory(f"q{index}", number, answer, answer, correct, 2, 1, (), None, 1.0, 2.0, 0.1))
    trial.store.write(shard, trajectory_table(rows, shard.first_question, shard.samples))


def test_sampled_so_far_is_what_every_question_has(trial: Trial) -> None:
    assert sampled_so_far(trial, 3) == 0
    sample(trial, Shard(0, 3, 0, 2))
    assert sampled_so_far(trial, 3) == 2
    sample(trial, Shard(0, 2, 2, 8))
    assert sampled_so_far(trial, 3) == 2
    assert sampled_so_far(trial, 2) == 8
    sample(trial, Shard(2, 3, 4, 8))
    # A hole: samples 2 and 3 of the last question are still missing.
    assert sampled_so_far(trial, 3) == 2
    sample(trial, Shard(2, 3, 2, 4))
    assert sampled_so_far(trial, 3) == 8


def test_more_than_asked_for_is_not_counted(trial: Trial) -> None:
    sample(trial, Shard(0, 3, 0, 32))
    assert sampled_so_far(trial, 3) == 8


def test_curves_use_only_the_samples_they_are_asked_for(trial: Trial) -> None:
    sample(trial, Shard(0, 3, 0, 8))
    values = {(row.aggregation, row.n): row.value for row in curves_so_far(trial, PROBLEMS, 2, (1, 2))}
    # Right among the first two samples: both of question 0, one of question 1, none of question 2.
    assert values["coverage", 1] == pytest.approx((1 + 0.5 + 0) / 3)
    assert values["coverage", 2] == pytest.approx((1 + 1 + 0) / 3)
    assert values["majority_vote", 1] == pytest.approx((1 + 0.5 + 0) / 3)
    values = {(row.aggregation, row.n): row.value for row in curves_so_far(trial, PROBLEMS, 8, (1, 8))}
    assert values["coverage", 1] == pytest.approx((1 + 7 / 8 + 6 / 8) / 3)
    assert values["majority_vote", 8] == 1
    rows = curves_so_far(trial, PROBLEMS, 8, (8,))
    assert {(row.trial, row.sampler) for row in rows} == {("gaussian sigma=0.4", "gaussian")}


@pytest.fixture
def scored(trial: Trial) -> Trial:
    """The same setting under a LatentRM that reads no answers; nothing scored yet."""
    store = ScoreStore(trial.store, ScoreSpec("rm", "float32", False, "float16"))
    store.prepare()
    return replace(trial, scored=Scored(store))


def score(trial: Trial, shard: Shard) -> None:
    """The later a sample the better; sample 7 of question 1 could not be scored. Answers lie the other way round."""
    assert trial.scored is not None
    reads_answers = trial.scored.store.spec.score_answer
    rows = []
    for q in range(shard.first_question, shard.end_question):
        for i in range(shard.first_sample, shard.end_sample):
            row = {"question_id": f"q{q}", "question_index": q, "sample_index": i, "score_prompt_flops": 8.0}
            if (q, i) != (1, 7):
                row |= {"score": i + 0.5, "score_flops": 4.0}
                if reads_answers:
                    row |= {"answer_score": -1.0 * i, "answer_score_flops": 6.0, "answer_score_prompt_flops": 8.0}
            rows.append(row)
    trial.scored.store.write(shard, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))


def test_scores_stand_beside_their_trajectories(scored: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.analysis.evaluation._QUESTIONS_PER_READ", 2)
    monkeypatch.setattr("orchestrator.analysis.evaluation._ROWS_PER_READ", 1)
    sample(scored, Shard(0, 3, 0, 8))
    # Shards of scores need not be cut like those of trajectories.
    for shard in (Shard(0, 1, 0, 8), Shard(1, 3, 4, 8), Shard(1, 3, 0, 4)):
        score(scored, shard)
    seen = 0
    for records, problems in blocks(scored, PROBLEMS, 8, CURVE_COLUMNS):
        assert len(records) == 8 * len(problems)
        missing = (records["question_index"] == 1) & (records["sample_index"] == 7)
        np.testing.assert_array_equal(records["score"], (records["sample_index"] + 0.5).mask(missing))
        assert "answer_score" not in records
        seen += missing.sum()
    assert seen == 1


def test_scored_curves(scored: Trial) -> None:
    sample(scored, Shard(0, 3, 0, 8))
    score(scored, Shard(0, 3, 0, 8))
    plain = curves_so_far(replace(scored, scored=None), PROBLEMS, 8, (1, 8))
    rows = curves_so_far(scored, PROBLEMS, 8, (1, 8))
    assert [point.row() for point in rows[: len(plain)]] == [point.row() for point in plain]
    found = {(row.aggregation, row.n): row for row in rows[len(plain) :]}
    assert set(found) == {("best_of_n", 1), ("best_of_n", 8)}
    # The last sample with a score is right for every question.
    assert found["best_of_n", 8].value == 1
    assert found["best_of_n", 1].value == pytest.approx((1 + 6 / 8 + 6 / 8) / 3)
    # Three prompts read by the scorer, and every sample scored but one.
    extra = found["best_of_n", 8].flops - next(row.flops for row in plain if row.n == 8)
    assert extra == pytest.approx(3 * 8 + 23 * 4)


def test_answers_have_scores_weights_and_curves_of_their_own(trial: Trial) -> None:
    store = ScoreStore(trial.store, ScoreSpec("rm", "float32", True, "float16"))
    store.prepare()
    scored = replace(trial, scored=Scored(store, VoteCalibration(), VoteCalibration(temperature=0.1)))
    sample(scored, Shard(0, 3, 0, 8))
    score(scored, Shard(0, 3, 0, 8))
    values = {row.aggregation: row.value for row in curves_so_far(scored, PROBLEMS, 8, (8,))}
    assert list(values)[2:] == ["best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer"]
    # Answer-aware scores prefer the first sample, which only question 0 answers right.
    assert (values["best_of_n"], values["best_of_n_answer"]) == (1.0, pytest.approx(1 / 3))
    assert (values["weighted_vote"], values["weighted_vote_answer"]) == (1.0, pytest.approx(1 / 3))


def test_ready_is_what_is_sampled_and_scored(scored: Trial) -> None:
    sample(scored, Shard(0, 3, 0, 8))
    assert sampled_so_far(scored, 3) == 0
    score(scored, Shard(0, 3, 0, 4))
    assert sampled_so_far(scored, 3) == 4
    assert sampled_so_far(replace(scored, scored=None), 3) == 8
    # Scores that are not there yet are no scores, and no failure either.
    rows = curves_so_far(scored, PROBLEMS, 8, (8,))
    assert {row.aggregation for row in rows} == {"coverage", "majority_vote", "best_of_n"}
    # Question 0 is right in all eight, question 2 from its third on; the best of those that have a score is the fourth.
    assert {row.value for row in rows if row.aggregation == "best_of_n"} == {1.0}


def test_a_folder_without_scores_is_read_too(scored: Trial) -> None:
    sample(scored, Shard(0, 3, 0, 8))
    assert [row.value for row in curves_so_far(scored, PROBLEMS, 8, (8,)) if row.aggregation == "best_of_n"] == [0.0]


def test_a_latent_rm_without_any_score_has_no_curves(scored: Trial) -> None:
    """A curve at zero with an interval would be taken for a result."""
    shard = Shard(0, 3, 0, 8)
    sample(scored, shard)
    assert scored.scored is not None
    scored.scored.store.prepare()
    places = [
        {"question_id": PROBLEMS[question].question_id, "question_index": question, "sample_index": sample_index}
        | {"score_error": "the reward is not finite"}
        for question in range(3)
        for sample_index in range(8)
    ]
    scored.scored.store.write(shard, pa.Table.from_pylist(places, schema=SCORE_SCHEMA))
    result = evaluate(scored, Task("task", PROBLEMS))
    assert {point.aggregation for point in result.points} == {"coverage", "majority_vote"}
    assert result.summary["unscored"] == result.summary["trajectories"] - result.summary["errors"]
    assert result.summary["first_score_error"] == "the reward is not finite"
