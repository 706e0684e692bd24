"""`latentswarm report --fit-gain`: a table beside a LatentRM, from a run on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.budgets import GAIN_FILE
from latent_core.budgets.gain_features import GAINING, table_name
from latent_core.budgets.gain_table import read_gain_tables
from latent_core.errors import UserError
from latent_core.models.files import locate
from latent_core.trajectory import Trajectory
from orchestrator.cli import main
from orchestrator.config.loading import parse_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run
from orchestrator.experiment.run_directory import write_run_file
from orchestrator.store.shards import Shard
from workers.tables import SCORE_SCHEMA


def scored_run(here: Path, samples: int, *, scored: bool = True, confident: bool = False) -> Path:
    """A run over some path-finding problems whose trajectories and scores are made up."""
    scorer = {"scorer": {"checkpoint": "bundled:latent-rm-tiny"}} if scored else {}
    config = parse_config(
        RunConfig,
        {
            "checkpoint": "bundled:coconut-paths",
            "task": {"name": "path_finding", "split": "validation", "count": 30},
            "sampler": {"kind": "gaussian", "sigma": 1.0, "relative": True},
            "budgets": [samples],
            "store": {"path": str(here / "store")},
            **scorer,
        },
    )
    experiment = plan_run("mine", config, here / "mine")
    rng = np.random.default_rng(0)
    problems = experiment.plan.problems
    for trial in experiment.sampled_trials():
        rows, scores = [], []
        for index, problem in enumerate(problems):
            for number in range(trial.samples):
                right = bool(rng.random() < index / len(problems))
                answer = problem.answer if right else "z z"
                row = Trajectory(problem.question_id, number, "", answer, right, 4, 3, (), None, 1.0, 2.0, 0.1)
                rows.append(row._replace(answer_logprob=-0.5 - number) if confident else row)
                scores.append(float(rng.normal() + 2 * right))
        shard = Shard(0, len(problems), 0, trial.samples)
        trial.store.prepare()
        trial.store.write(shard, trajectory_table(rows, 0, trial.samples))
        if trial.scored is not None:
            trial.scored.store.prepare()
            table = trial.store.read(len(problems), trial.samples, [])
            columns = {
                name: table[name].to_list() if name in table else [None] * len(scores) for name in SCORE_SCHEMA.names
            }
            filled = {"score": scores, "answer_score": scores} | {
                name: [1.0] * len(scores) for name in SCORE_SCHEMA.names if name.endswith("flops")
            }
            trial.scored.store.write(shard, pa.table({**columns, **filled}, schema=SCORE_SCHEMA))
    experiment.out.mkdir(parents=True)
    save_config(config, experiment.out / "config.yaml")
    write_run_file(experiment.out, "run", "who", len(problems), experiment.sampled_trials())
    return experiment.out


@pytest.fixture
def reward(tmp_path: Path) -> Path:
    target = tmp_path / "reward"
    shutil.copytree(locate("bundled:latent-rm-tiny"), target)
    (target / GAIN_FILE).unlink()
    return target


def test_a_table_is_fitted_and_written(tmp_path: Path, reward: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scored_run(tmp_path, 16)
    assert main(["report", str(out), "--fit-gain", str(reward)]) == 0
    tables = read_gain_tables(reward)
    assert tables is not None
    assert (tables.questions, tables.samples, set(tables.tables)) == (30, 16, set(GAINING))
    assert tables.tables["best_of_n"].temperature == 0.5
    assert [stage.samples for stage in tables.tables["best_of_n"].stages] == [4, 8, 16]
    assert "gain_tables.json: fitted to gaussian sigma=1.0 relative, 30 questions" in capsys.readouterr().err


def test_a_further_table_is_written_where_trajectories_say_how_sure_the_reasoner_was(
    tmp_path: Path, reward: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scored_run(tmp_path, 16, confident=True)
    assert main(["report", str(out), "--fit-gain", str(reward)]) == 0
    tables = read_gain_tables(reward)
    assert tables is not None
    assert set(tables.tables) == {table_name(name, own_confidence=own) for name in GAINING for own in (False, True)}
    first = tables.tables[table_name("best_of_n", own_confidence=True)].stages[0]
    # Three tokens an answer, and log-probabilities of -0.5 to -15.5: the mean over all orders of four of them.
    assert -8.0 / 3 - 0.3 < first.means[-2] < -8.0 / 3 + 0.3


@pytest.mark.parametrize(
    ("samples", "scored", "options", "line"),
    [
        (16, False, [], "nothing scores gaussian sigma=1.0 relative"),
        (4, True, [], "has 4 samples of every question, and a table of gains needs at least 8"),
        (16, True, ["--fit-gain-trial", "gaussian"], "--fit-gain-trial gaussian: "),
    ],
)
def test_what_cannot_be_fitted_is_a_line(
    tmp_path: Path,
    reward: Path,
    capsys: pytest.CaptureFixture[str],
    samples: int,
    scored: bool,
    options: list[str],
    line: str,
) -> None:
    out = scored_run(tmp_path, samples, scored=scored)
    assert main(["report", str(out), "--fit-gain", str(reward), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error
    assert "\n" not in error


def test_no_latentrm_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scored_run(tmp_path, 8)
    assert main(["report", str(out), "--fit-gain", str(tmp_path / "nothing")]) == 2
    assert "no LatentRM is there" in capsys.readouterr().err


def test_the_bundled_latentrm_has_a_table_for_64_samples() -> None:
    tables = read_gain_tables(locate("bundled:latent-rm-tiny"))
    assert tables is not None
    assert (tables.questions, tables.samples, set(tables.tables)) == (600, 64, set(GAINING))


def test_a_damaged_table_is_a_line(reward: Path) -> None:
    (reward / GAIN_FILE).write_text(json.dumps({"questions": 3}))
    with pytest.raises(UserError, match=r"gain_tables.json: is not valid"):
        read_gain_tables(reward)
