"""A sampler, a grader and an aggregation of one's own through a whole run on a cluster that knows nothing of them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from commands import run_command

pytestmark = pytest.mark.usefixtures("shared_cluster")

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin" / "latentswarm_example"
FILES = {"sampler": "own_sampler.py", "grader": "own_grader.py", "aggregation": "own_kinds/aggregation.py"}
CONFIG = """
checkpoint: bundled:coconut-tiny
task: {path: questions.jsonl, grader: rounded}
sampler: {kind: uniform, width: 0.5}
budgets: [1, 4]
answer_tokens: 8
plugins: [own_sampler.py, own_grader.py, own_kinds.aggregation]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the kinds of the template, as files and in a package that is not installed, and with questions."""
    for name, file in FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text((EXAMPLE / f"{name}.py").read_text())
    question = "Ann has 12 pens . She buys 7 . She doubles them . She loses 3 . How many pens ?"
    rows = [{"id": f"q{q}", "question": question, "answer": f"{35 + q}.2"} for q in range(4)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


def test_kinds_of_ones_own_run_on_a_cluster_and_their_source_names_the_store(folder: Path) -> None:
    done = run_command(folder, "run", "mine.yaml", "--out", "out")
    assert done.returncode == 0, done.stderr
    curves = pd.read_csv(folder / "out" / "curves.csv")
    sampled = curves[curves["sampler"] == "uniform"]
    assert set(sampled["aggregation"]) >= {"coverage", "majority_vote", "all_right"}
    at_one = sampled[sampled["n"] == 1].set_index("aggregation")["value"]
    assert at_one["all_right"] == pytest.approx(at_one["coverage"])

    again = run_command(folder, "run", "out/config.yaml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert "nothing to sample" in again.stderr
    reported = run_command(folder, "report", "out")
    assert reported.returncode == 0, reported.stderr
    assert "all right" in reported.stdout

    sampler = folder / "own_sampler.py"
    sampler.write_text(sampler.read_text().replace("2.0 * drawn - 1.0", "1.0 - 2.0 * drawn"))
    planned = run_command(folder, "run", "mine.yaml", "--dry-run", "--out", "other")
    assert planned.returncode == 0, planned.stderr
    assert "nothing to sample" not in planned.stderr
