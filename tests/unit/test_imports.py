"""What processes import that only pass work on, or only read what is written: no torch, which would cost seconds."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reports import store_run

RECORDED = Path(__file__).parents[1] / "data" / "ce6be8d"
_MODELS = ("torch", "transformers")


@pytest.mark.parametrize(
    "module",
    [
        "orchestrator.pipeline.stages",
        "orchestrator.pipeline.rollouts",
        "orchestrator.pipeline.cluster",
        "workers.tables",
        "orchestrator.tuning.trainable",
        # Reading a record imports its module.
        "latent_core.trajectory",
        "latent_core.search.beam",
        "latent_core.budgets",
        "latent_core.reward.types",
        "workers.reasoner",
        "workers.policy",
        "workers.scorer",
        "workers.pool",
    ],
)
def test_waiting_processes_import_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_a_configuration_of_any_sampler_imports_no_models() -> None:
    code = f"""
import sys
from latent_core.samplers import SAMPLERS
import orchestrator.config.run, orchestrator.config.annotate, orchestrator.config.space
import orchestrator.experiment.command_plans, orchestrator.experiment.dry_run
assert len(list(SAMPLERS)) >= 9
sys.exit(" ".join({{*{_MODELS}}} & {{*sys.modules}}) or 0)
"""
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


REFUSED = [
    ["run", "run.yaml", "budgts=[1]"],
    ["run", "run.yaml", "sampler.kind=gaussian", "sampler.sigma=-1"],
    ["run", "run.yaml", "task.name=word_problem", "--dry-run"],
    ["run", "run.yaml", "checkpoint=./nowhere", "--dry-run"],
    ["run", "run.yaml", "checkpoint=bundled:nothing"],
    ["run", "run.yaml", "scorer.checkpoint=./nowhere"],
    ["sweep", "sweep.yaml", "sweep.space=[]"],
]
READING = [["status", "run"], ["status", "run", "--json"], ["report", "run"], ["samples", "run"]]


@pytest.mark.parametrize(("commands", "code"), [(REFUSED, 2), (READING, 0)], ids=["refusals", "readers"])
def test_commands_that_compute_nothing_import_no_models(commands: list[list[str]], code: int, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(RECORDED, folder, ignore=shutil.ignore_patterns("run", "store"))
    store_run(folder, questions=20)
    program = f"""
import sys
from orchestrator.cli import main
for arguments in {commands}:
    code = main(arguments)
    imported = {{*{_MODELS}}} & {{*sys.modules}}
    if code != {code} or imported:
        sys.exit(f"{{arguments}}: exit code {{code}}, imported {{imported}}")
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=folder, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
