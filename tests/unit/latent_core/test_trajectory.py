import subprocess
import sys
from itertools import repeat

import pytest

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory


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
    modules = "latent_core.trajectory, orchestrator.stages, orchestrator.tuning.trial, workers.reasoner"
    code = f"import sys, {modules}; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
