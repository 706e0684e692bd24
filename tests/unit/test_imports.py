"""What processes that only pass work on import: no torch, whose import would cost each of them seconds."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "orchestrator.pipeline.stages",
        "orchestrator.pipeline.rollouts",
        "workers.tables",
        "orchestrator.tuning.trainable",
        # Reading a record imports its module.
        "latent_core.trajectory",
        "latent_core.search.beam",
        "latent_core.budgets",
        "latent_core.reward.types",
        "workers.reasoner",
        "workers.scorer",
        "workers.pool",
    ],
)
def test_waiting_processes_import_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
