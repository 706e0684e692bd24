import subprocess
import sys
from itertools import repeat

import numpy as np
import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import NO_TOKEN, Trajectory, is_cut


def test_a_failed_trajectory_is_wrong_and_without_a_vote() -> None:
    failed = Trajectory.failed(Problem("q", "question", "1"), 3, "RuntimeError: no")
    assert (failed.question_id, failed.sample_index, failed.error) == ("q", 3, "RuntimeError: no")
    assert (failed.answer, failed.correct, failed.latents) == (None, False, None)
    assert failed.flops == failed.prompt_flops == failed.seconds == 0


def test_columns_become_trajectories_whatever_their_order() -> None:
    rows = [Trajectory(f"q-{row}", row, "7", "7", True, 2, 1, (row,), None, 1.0, 2.0, 0.5) for row in range(3)]
    columns = {field: [getattr(row, field) for row in rows] for field in reversed(Trajectory._fields)}
    assert (
        Trajectory.of_columns(
            **columns,
        )
        == rows
    )
    assert Trajectory.of_columns(**columns | {"error": repeat("no")}) == [row._replace(error="no") for row in rows]
    del columns["answer"]
    with pytest.raises(KeyError, match="answer"):
        Trajectory.of_columns(**columns)


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
    assert whole.judged("abstain") == whole.judged("vote") == whole
    assert cut.judged("vote") == cut
    assert cut.judged("abstain") == cut._replace(answer=None, correct=False)
