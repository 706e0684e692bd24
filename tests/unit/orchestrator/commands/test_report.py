"""`latentswarm report`: tables and pictures once more, from the store alone, and several runs beside each other."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from support import trajectory_table

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.analysis.evaluation import Evaluation, evaluate_all
from orchestrator.cli import main
from orchestrator.config.loading import parse_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.run_directory import write_run_file
from orchestrator.reporting.run_files import write_files
from orchestrator.store.shards import Shard
from orchestrator.store.trial import Trial

Right = Callable[[int, int], bool]


@pytest.fixture
def here(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where two checkpoints and two tasks are; `report` writes `runs/report` here."""
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    shutil.copytree(tiny_checkpoint, tmp_path / "other-model")
    card = json.loads((tmp_path / "other-model" / "config.json").read_text())
    (tmp_path / "other-model" / "config.json").write_text(json.dumps({**card, "note": "another fingerprint"}))
    write_questions(tmp_path / "questions.json", 4)
    write_questions(tmp_path / "fewer.json", 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_questions(path: Path, count: int) -> None:
    path.write_text(json.dumps([{"question": f"ann has {n} pens ?", "answer": n} for n in range(count)]))


def content(**changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": "model",
        "task": {"path": "questions.json"},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "budgets": [1, 2, 4],
        "store": {"path": "runs/store"},
        **changes,
    }


def some(question: int, number: int) -> bool:
    """Question 0 is never answered, question 1 by one sample of four, 2 by two, 3 by three."""
    return number < question


def sample(trial: Trial, problems: tuple[Problem, ...], samples: int, right: Right) -> None:
    rows = []
    for index, problem in enumerate(problems):
        for number in range(samples):
            answer = problem.answer if right(index, number) else "99"
            correct = right(index, number)
            row = Trajectory(problem.question_id, number, "", answer, correct, 6, 3, (), None, 1.0, 2.0, 0.1)
            rows.append(row._replace(answer_logprob=-0.5, token_entropy=0.1))
    trial.store.prepare()
    trial.store.write(Shard(0, len(problems), 0, samples), trajectory_table(rows, 0, samples))


def run(name: str, right: Right = some, **changes: Any) -> Experiment:
    """A run whose trajectories are in the store, and whose directory is as its command leaves it."""
    experiment = plan_run(name, parse_config(RunConfig, content(**changes)), Path("runs") / name)
    greedy, trial = experiment.sampled_trials()
    problems = experiment.plan.problems
    sample(greedy, problems, 1, lambda question, _: question == 1)
    sample(trial, problems, trial.samples, right)
    experiment.out.mkdir(parents=True)
    record(experiment)
    results = evaluate_all([greedy, trial], experiment.plan.task)
    evaluation = Evaluation(results, experiment.plan.task, experiment.plan.config.budgets)
    write_files(experiment.out, experiment.plan.config, evaluation, {"task": experiment.plan.task.name})
    return experiment


def record(experiment: Experiment, command: str = "run") -> None:
    write_run_file(experiment.out, command, "who", len(experiment.plan.problems), experiment.sampled_trials())


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if not file.name.startswith(".")}


def test_drawn_anew_everything_is_what_the_run_wrote(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("mine").out
    before = contents(out)
    assert {"curves.csv", "curves.png", "curves.html", "questions.csv", "difficulty.csv", "difficulty.png"} < set(
        before
    )
    for name in before.keys() - {"config.yaml", "summary.json", "run.json"}:
        (out / name).unlink()
    assert main(["report", str(out)]) == 0
    assert contents(out) == before
    captured = capsys.readouterr()
    assert captured.out.startswith("mine: model on questions, 4 questions\n")
    assert "coverage (pass@N), % [95 % interval]" in captured.out
    assert "runs/mine/difficulty.png" in captured.out
    assert captured.err == ""
    assert not (here / "runs" / "report").exists()
    assert not ray.is_initialized()


def test_stopping_rules_are_replayed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("mine", budgets=[1, 2, 4, 8]).out
    assert main(["report", str(out)]) == 0
    with (out / "adaptive.csv").open() as stream:
        assert {row["rule"].split()[0] for row in csv.DictReader(stream)} == {"anytime", "decided", "posterior"}
    assert (out / "adaptive.png").is_file()
    assert main(["report", str(out), "--budgets", "posterior:confidence=0.8", "--budgets", "decided"]) == 0
    with (out / "adaptive.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["rule"], row["aggregation"], row["horizon"]) for row in rows] == [
        ("posterior confidence=0.8", "majority_vote", "8"),
        ("decided", "majority_vote", "8"),
    ]
    capsys.readouterr()
    for wrong, line in (
        ("gain:mean=6", "budget.rule gain: decides by the scores of a LatentRM, and nothing scores these samples"),
        ("sure", "unknown budget rule 'sure'"),
    ):
        assert main(["report", str(out), "--budgets", wrong]) == 2
        error = capsys.readouterr().err.strip()
        assert line in error
        assert "\n" not in error


def test_the_checkpoint_may_be_gone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("mine").out
    before = contents(out)
    shutil.rmtree(here / "model")
    assert main(["report", str(out)]) == 0
    assert contents(out) == before
    capsys.readouterr()
    # Without `run.json` nothing says which trajectories were its own.
    (out / "run.json").unlink()
    assert main(["report", str(out)]) == 2
    assert "runs/mine: has no run.json" in capsys.readouterr().err


def test_what_is_there_of_an_interrupted_sweep(here: Path) -> None:
    space = {"space": [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2, 0.3]}]}
    config = parse_config(RunConfig, content(sweep=space))
    experiment = plan_sweep("mine", config, Path("runs/mine"))
    for trial, samples in zip(experiment.sampled_trials(), (1, 4, 2, 0), strict=True):
        if samples:
            sample(trial, experiment.plan.problems, samples, some)
    experiment.out.mkdir(parents=True)
    save_config(config, experiment.out / "config.yaml")
    record(experiment, "sweep")
    assert main(["report", "runs/mine"]) == 0
    rows = read_curves_csv(experiment.out / "curves.csv")
    assert {row.trial for row in rows} == {"greedy", "gaussian sigma=0.1", "gaussian sigma=0.2"}
    # A report of a run that is still at work must not make it look finished.
    assert not (experiment.out / "summary.json").exists()


def test_what_the_store_lacks_is_said_with_numbers(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = run("mine")
    _, trial = experiment.sampled_trials()
    (whole,) = trial.store.shards()
    table = trial.store.table(whole, "none")
    for question in range(4):
        trial.store.write(Shard(question, question + 1, 0, 4), table.slice(4 * question, 4))
    (Path(trial.store.directory) / whole.file_name()).unlink()
    assert main(["report", "runs/mine"]) == 0
    assert capsys.readouterr().err == ""
    (Path(trial.store.directory) / Shard(2, 3, 0, 4).file_name()).unlink()
    assert main(["report", "runs/mine"]) == 0
    error = capsys.readouterr().err
    assert error.startswith("runs/mine: 4 of 20 trajectories are not in the store, or not scored: ")
    assert "gaussian sigma=0.4 lacks 4 of 16 (no curves)" in " ".join(error.split())
    assert not any(row.trial == trial.name for row in read_curves_csv(experiment.out / "curves.csv"))


def test_runs_that_count_cut_answers_differently_say_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("a")
    run("b", task={"path": "questions.json", "cut_answers": "vote"})
    assert main(["report", "runs/a", "runs/b", "--out", "both"]) == 0
    text = Path("both/comparison.md").read_text()
    assert text.startswith("# a and b: model on questions, cut answers counted differently\n")
    assert "(task.cut_answers: a abstain, b vote)" in text
    assert {row["trial"] for row in compared(Path("both"))} >= {"a: gaussian sigma=0.4", "b: gaussian sigma=0.4"}
    assert "cut answers counted differently" in capsys.readouterr().out


def test_by_difficulty(here: Path) -> None:
    out = run("mine").out
    with (out / "difficulty.csv").open(newline="") as stream:
        found = {(row["aggregation"], row["n"], row["difficulty"]): row for row in csv.DictReader(stream)}
    values = {key[2]: float(row["value"]) for key, row in found.items() if key[:2] == ("coverage", "2")}
    assert values == pytest.approx({"never": 0, "(0, 0.25]": 1 / 2, "(0.25, 0.5]": 5 / 6, "(0.5, 0.75]": 1})
    assert {row["questions"] for row in found.values()} == {"1"}
    # Greedy decoding is right on question 1, which one sample of four answers.
    assert {key[2]: float(row["value"]) for key, row in found.items() if key[0] == "greedy"} == {
        "never": 0,
        "(0, 0.25]": 1,
        "(0.25, 0.5]": 0,
        "(0.5, 0.75]": 0,
    }


def compared(out: Path = Path("runs/report")) -> list[dict[str, str]]:
    with (out / "curves.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_runs_of_one_model_on_the_same_questions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("a")
    run("b", lambda question, number: question > 0, sampler={"kind": "gaussian", "sigma": 0.8}, budgets=[1, 4, 8])
    assert main(["report", "runs/a", "runs/b"]) == 0
    assert contents(Path("runs/report")).keys() == {
        "curves.csv",
        "curves.png",
        "curves.html",
        "comparisons.csv",
        "comparison.md",
    }
    rows = compared()
    # What has a name of its own keeps it.
    assert {(row["run"], row["trial"]) for row in rows} == {
        ("a", "a: greedy"),
        ("b", "b: greedy"),
        ("a", "gaussian sigma=0.4"),
        ("b", "gaussian sigma=0.8"),
    }
    for name in ("a", "b"):
        own = read_curves_csv(Path("runs") / name / "curves.csv")
        assert [float(row["value"]) for row in rows if row["run"] == name] == [row.value for row in own]
    text = Path("runs/report/comparison.md").read_text()
    assert text.startswith("# a and b: model on questions\n")
    results, _, differences = text.partition("Differences on the 4 questions in common")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results.splitlines() if line.startswith("|")]
    # 4 is the largest budget that both have. Three of four questions are covered in both.
    assert [line[:5] for line in lines if line[0].startswith("coverage")] == [
        ["coverage (pass@N)", "4", "a", "gaussian sigma=0.4", "75.0 [29.0, 96.0]"],
        ["coverage (pass@N)", "4", "b", "gaussian sigma=0.8", "75.0 [29.0, 96.0]"],
    ]
    assert [line[5] for line in lines if line[0].startswith("coverage")] == ["9", "9"]
    assert "All runs ask the same questions" in text
    # Greedy decoding is the same, coverage too, and the vote of b is right on all but one question.
    assert "| greedy | 1 | b: greedy | a: greedy | +0.0 [" in differences
    assert "| majority vote | 4 | b: gaussian sigma=0.8 | a: gaussian sigma=0.4 | +37.5 [" in differences
    with Path("runs/report/comparisons.csv").open(newline="") as stream:
        assert {(line["kind"], line["n"]) for line in csv.DictReader(stream)} == {("runs", "1"), ("runs", "4")}
    assert "a and b: model on questions" in capsys.readouterr().out


def test_runs_that_differ_say_so(here: Path) -> None:
    run("a")
    run("b", checkpoint="other-model", task={"path": "fewer.json"})
    assert main(["report", "runs/a", "runs/b", "--out", "both"]) == 0
    text = Path("both/comparison.md").read_text()
    assert text.startswith("# a and b: different checkpoints on different questions\n")
    assert "what differs may be the questions" in text
    assert {row["trial"] for row in compared(Path("both"))} == {
        f"{name}: {trial}" for name in ("a", "b") for trial in ("greedy", "gaussian sigma=0.4")
    }
    # Two greedy accuracies cannot be one line: each is a point of its own.
    page = Path("both/curves.html").read_text()
    assert '"name":"a: greedy"' in page
    assert '"name":"b: gaussian sigma=0.4"' in page


def test_other_questions_under_the_same_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("mine").out
    write_questions(here / "questions.json", 7)
    assert main(["report", str(out)]) == 2
    error = capsys.readouterr().err
    assert "the questions of task questions are no longer those of the run" in error
    assert error.count("\n") == 1


def test_wrong_input_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("a")
    run("b", sampler={"kind": "gaussian", "sigma": 0.8})
    empty = plan_run("empty", parse_config(RunConfig, content(seed=5)), Path("runs/empty"))
    empty.out.mkdir()
    save_config(empty.plan.config, empty.out / "config.yaml")
    record(empty)
    for arguments, message in (
        (["runs/a", "runs/c"], "runs/c: no such directory"),
        (["runs/a", "runs/../runs/a"], "runs/../runs/a: named twice"),
        (["runs/a", "--out", "x"], "--out x: for the comparison of several runs"),
        (["runs/a", "runs/b", "--out", "runs/a"], "--out runs/a: a run directory"),
        (["runs/empty"], "there is no setting yet of which every question has a sample"),
    ):
        assert main(["report", *arguments]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert not Path("x").exists()


def test_figures_for_a_paper(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("a").out
    run("b", lambda question, number: question > 0, sampler={"kind": "gaussian", "sigma": 0.8})
    assert main(["report", str(out), "--format", "pdf,svg", "--columns", "1"]) == 0
    figures = contents(out / "figures")
    assert {"curves.pdf", "curves.svg", "difficulty.pdf", "difficulty.svg", "tables.tex", "captions.json"} == set(
        figures
    )
    said = json.loads(figures["captions.json"])
    assert (said["questions"], said["seed"], said["samples"]) == (4, 0, {"greedy": 1, "gaussian sigma=0.4": 4})
    assert b"gaussian sigma=0.4" in figures["tables.tex"]
    assert main(["report", "runs/a", "runs/b", "--out", "both", "--format", "pdf"]) == 0
    assert set(contents(Path("both/figures"))) == {"curves.pdf", "tables.tex"}
    assert main(["report", str(out), "--columns", "1"]) == 2
    assert "--columns 1: how wide figures for a paper are" in capsys.readouterr().err
