import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import NO_TOKEN, Trajectory, TrajectoryBatch, is_cut


def test_a_failed_trajectory_is_wrong_and_without_a_vote() -> None:
    failed = Trajectory.failed(Problem("q", "question", "1"), 3, "RuntimeError: no")
    assert (failed.question_id, failed.sample_index, failed.error) == ("q", 3, "RuntimeError: no")
    assert (failed.answer, failed.correct, failed.latents) == (None, False, None)
    assert failed.flops == failed.prompt_flops == failed.seconds == 0


def row(number: int, steps: int = 2, precision: type[np.floating[Any]] = np.float32) -> Trajectory:
    latents = np.full((steps, 3), number, precision)
    ids = tuple(range(number))
    return Trajectory(f"q-{number}", number, "7", None, True, steps, number, ids, latents, 1.0, 2.0, 0.5)


def assert_same(batch: TrajectoryBatch, rows: Sequence[Trajectory]) -> None:
    assert len(batch) == len(rows)
    for one, other in zip(batch, rows, strict=True):
        assert one._replace(latents=None) == other._replace(latents=None)
        assert (one.latents is None) == (other.latents is None)
        if one.latents is not None and other.latents is not None:
            assert one.latents.dtype == other.latents.dtype
            np.testing.assert_array_equal(one.latents, other.latents)


LOST = Trajectory.failed(Problem("lost", "question", "1"), 1, "no")
ROWS = [row(0), LOST, row(2, steps=0), row(1, steps=4)]


def test_a_batch_holds_what_its_records_say() -> None:
    batch = TrajectoryBatch.of(ROWS)
    assert_same(batch, ROWS)
    assert {type(value) for value in batch[3][:8]} == {str, int, type(None), bool, tuple}
    assert_same(batch[1:3], ROWS[1:3])
    assert batch[-1].question_id == "q-1"
    with pytest.raises(IndexError):
        batch[4]


def test_rows_of_batches_are_chosen_joined_and_replaced() -> None:
    batch = TrajectoryBatch.of(ROWS)
    chosen = batch.take(np.array([3, 0, 0, 1]))
    assert_same(chosen, [ROWS[3], ROWS[0], ROWS[0], LOST])
    # Nothing is computed of a batch of failures only, so it knows neither precision nor size of latents.
    failed = TrajectoryBatch.failed(["lost"], [1], ["no"])
    halves = TrajectoryBatch.of([row(5, precision=np.float16)])
    assert_same(TrajectoryBatch.concat([failed, chosen]), [LOST, ROWS[3], ROWS[0], ROWS[0], LOST])
    assert_same(TrajectoryBatch.concat([failed, halves, failed]), [LOST, row(5, precision=np.float16), LOST])
    assert_same(batch.replaced(np.array([2, 0]), TrajectoryBatch.of([row(7), row(8)])), [row(8), LOST, row(7), ROWS[3]])
    with pytest.raises(ValueError, match="no batches"):
        TrajectoryBatch.concat([])


def test_latents_can_be_left_out() -> None:
    batch = TrajectoryBatch.of(ROWS)
    assert_same(batch.without_latents(), [one._replace(latents=None) for one in ROWS])


def test_what_passes_records_on_imports_no_torch() -> None:
    """Pipeline tasks and trials run in processes of their own, which would start seconds later with torch."""
    modules = "latent_core.trajectory, orchestrator.pipeline.stages, orchestrator.tuning.trainable, workers.reasoner"
    code = f"import sys, {modules}; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("written", "ids", "ends", "cut"),
    [
        (3, [4, 5, 2], {2}, False),
        (4, [4, 5, 6, 2], {2}, False),
        (4, [4, 5, 6, 7], {2}, True),
        # Of several end tokens any ends an answer.
        (4, [4, 5, 6, 7], {2, 7}, False),
        # A row that thinks on while it should answer has written tokens that are not kept.
        (4, [4, 5], {2}, True),
        (4, [], {2}, True),
        (0, [], {2}, False),
    ],
)
def test_an_answer_is_cut_if_it_is_as_long_as_it_may_be_and_has_no_end(
    written: int, ids: list[int], ends: set[int], cut: bool
) -> None:
    last = ids[-1] if ids else NO_TOKEN
    assert is_cut(np.array([written, written]), np.array([last, last]), 4, ends).tolist() == [cut, cut]


def test_a_cut_answer_abstains_or_votes() -> None:
    whole = Trajectory("q", 0, "7", "7", True, 2, 4, (1, 2, 3, 4), None, 1.0, 2.0, 0.5)
    cut = whole._replace(cut=True)
    rows = TrajectoryBatch.of([whole, cut])
    assert rows.judged("vote").rows() == [whole, cut]
    assert rows.judged("abstain").rows() == [whole, cut._replace(answer=None, correct=False)]
