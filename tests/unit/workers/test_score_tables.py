"""From stored trajectories to what a scorer is asked, and from its scores to rows of a table."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.reward.types import Score, ScoreBatch
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from workers.tables import SCORE_SCHEMA, questions_to_score, score_table

WIDTH = 4


def trajectory(question: str, sample: int, steps: int, answer_ids: tuple[int, ...]) -> Trajectory:
    latents = np.random.default_rng([ord(question), sample]).normal(size=(steps, WIDTH)).astype(np.float32)
    return Trajectory(question, sample, "1", "1", True, steps, len(answer_ids), answer_ids, latents, 1.0, 2.0, 0.1)


ROWS = [
    trajectory("a", 4, 3, (7, 1)),
    trajectory("a", 5, 1, (8,)),
    Trajectory.failed(Problem("b", "?", "1"), 4, "RuntimeError: no"),
    trajectory("b", 5, 2, (9, 9, 1)),
]


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_a_shard_becomes_questions_with_their_trajectories(stored: str) -> None:
    table = trajectory_table(ROWS, 7, 2, stored)
    first, second = questions_to_score(table, 2, ["Ann?", "Ben?"], stored)
    assert (first.question, second.question) == ("Ann?", "Ben?")
    assert first.answer_ids == ((7, 1), (8,))
    assert second.answer_ids == ((), (9, 9, 1))
    assert second.latents[0] is None
    for found, row in zip((*first.latents, second.latents[1]), (ROWS[0], ROWS[1], ROWS[3]), strict=True):
        assert found is not None
        assert row.latents is not None
        assert found.dtype == stored
        np.testing.assert_array_equal(found, row.latents.astype(stored))


def test_the_precision_is_the_one_asked_for_whatever_is_at_hand() -> None:
    """Scores must not depend on whether a trajectory has just been sampled or comes from a store that keeps more."""
    fine = questions_to_score(trajectory_table(ROWS, 7, 2, "float32"), 2, ["?", "?"], "float16")
    coarse = questions_to_score(trajectory_table(ROWS, 7, 2, "float16"), 2, ["?", "?"], "float16")
    for one, other in zip(fine, coarse, strict=True):
        for a, b in zip(one.latents, other.latents, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert a.dtype == b.dtype == np.float16
                np.testing.assert_array_equal(a, b)


def test_a_table_in_several_pieces_is_read_as_one() -> None:
    table = trajectory_table(ROWS, 7, 2, "float16")
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    whole, cut = (questions_to_score(one, 2, ["?", "?"], "float16") for one in (table, pieces))
    for one, other in zip(whole, cut, strict=True):
        assert one.answer_ids == other.answer_ids
        for a, b in zip(one.latents, other.latents, strict=True):
            np.testing.assert_array_equal(a, b)


def test_fewer_questions_than_trajectories_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        questions_to_score(trajectory_table(ROWS, 7, 2, "float16"), 2, ["?"], "float16")


STEPS = np.array([0.5, -1.0, 2.0], dtype=np.float32)
SCORES = [
    Score(STEPS, 0.25, 10.0, 3.0, 4.0, 0.5),
    replace(Score(STEPS[:1], -0.5, 10.0, 1.0, 2.0, 0.5)),
    Score.failed("the trajectory failed"),
    replace(Score(STEPS[:2], 0.0, 11.0, 2.0, 3.0, 0.5)),
]


def test_every_score_stands_where_its_trajectory_does() -> None:
    table = score_table(trajectory_table(ROWS, 7, 2, "float16"), ScoreBatch.of(SCORES))
    assert table.schema.equals(SCORE_SCHEMA)
    rows = table.to_pylist()
    assert [(row["question_id"], row["question_index"], row["sample_index"]) for row in rows] == [
        ("a", 7, 4),
        ("a", 7, 5),
        ("b", 8, 4),
        ("b", 8, 5),
    ]
    assert rows[0] == {
        "question_id": "a",
        "question_index": 7,
        "sample_index": 4,
        "step_scores": [0.5, -1.0, 2.0],
        "score": 1.5,
        "answer_score": 1.75,
        "score_prompt_flops": 10.0,
        "score_flops": 3.0,
        "answer_score_prompt_flops": 10.0,
        "answer_score_flops": 4.0,
        "score_seconds": 0.5,
        "score_error": None,
    }
    assert (rows[2]["score"], rows[2]["step_scores"], rows[2]["score_error"]) == (None, None, "the trajectory failed")
    # A score of zero is a score.
    assert rows[3]["answer_score"] == -0.5


def test_scores_without_answers_have_no_cost_of_answers() -> None:
    """Costs of what was not computed must not be taken for zero."""
    blind = [replace(score, answer_reward=None, answer_flops=0.0) for score in SCORES]
    rows = score_table(trajectory_table(ROWS, 7, 2, "float16"), ScoreBatch.of(blind)).to_pylist()
    for row in rows:
        assert (row["answer_score"], row["answer_score_flops"], row["answer_score_prompt_flops"]) == (None, None, None)
    assert [row["score"] for row in rows] == [1.5, 0.5, None, -0.5]


def test_one_score_too_few_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        score_table(trajectory_table(ROWS, 7, 2, "float16"), ScoreBatch.of(SCORES[:3]))
