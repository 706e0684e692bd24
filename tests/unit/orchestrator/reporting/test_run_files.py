"""Reports: counts of everything that was sampled, failures included, and the files of a run directory."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis.curves import read_curves_csv
from orchestrator.analysis.evaluation import Evaluation, evaluate
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.run import RunConfig
from orchestrator.reporting.run_files import write_files
from orchestrator.reporting.tables import render
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from workers.tables import SCORE_SCHEMA

TASK = Task("mine", tuple(Problem(f"q{index}", "?", str(index)) for index in range(3)))
Answer = Callable[[int, int], str | None]


def trial_of(tmp_path: Path, kind: str = "gaussian", samples: int = 4) -> Trial:
    name = "greedy" if kind == "none" else f"{kind} x=1"
    store = TrajectoryStore(str(tmp_path / "store"), TrajectorySpec("c", "t", {"kind": kind}, 2, 4, 0, "float32"))
    store.prepare()
    return Trial(name, kind, samples, tuple(n for n in (1, 2, 4) if n <= samples), store)


def sample(trial: Trial, answer: Answer, samples: int | None = None) -> Trial:
    """Store samples of all questions; the answer "error" stands for a failure."""
    shard = Shard(0, 3, 0, samples or trial.samples)
    rows = []
    for index, problem in enumerate(TASK.problems):
        for number in range(shard.samples):
            given = answer(index, number)
            if given == "error":
                rows.append(Trajectory.failed(problem, number, f"RuntimeError: {problem.question_id}"))
            else:
                correct = problem.is_correct(given)
                rows.append(
                    Trajectory(
                        problem.question_id, number, f"# {given}", given, correct, 2, 3, (), None, 10.0, 5.0, 0.5
                    )
                )
    trial.store.write(shard, trajectory_table(rows, 0, shard.samples))
    return trial


def right(question: int, number: int) -> str:
    return str(question)


def mixed(question: int, number: int) -> str | None:
    """Question 0 is right, question 1 wrong half of the time and unreadable otherwise, question 2 always fails."""
    return ("0", "7" if number % 2 else None, "error")[question]


def unreadable(question: int, number: int) -> None:
    return None


def failing(question: int, number: int) -> str:
    return "error"


def values(rows: list[Any]) -> dict[tuple[str, int], float]:
    return {(row.aggregation, row.n): row.value for row in rows}


def test_failures_and_unreadable_answers_count_as_wrong(tmp_path: Path) -> None:
    result = evaluate(sample(trial_of(tmp_path), mixed), TASK)
    assert list(values(result.rows).values()) == pytest.approx([1 / 3] * 6)
    assert {key: result.summary[key] for key in ("samples", "trajectories", "errors", "unparsable")} == {
        "samples": 4,
        "trajectories": 12,
        "errors": 4,
        "unparsable": 2,
    }
    assert result.summary["first_error"] == "RuntimeError: q2"
    assert result.summary["latent_steps"] == 8 * 2
    assert result.summary["answer_tokens"] == 8 * 3
    assert result.summary["device_seconds"] == pytest.approx(4.0)
    assert result.summary["sampler"] == {"kind": "gaussian"}
    assert result.summary["store"] == result.trial.store.spec.key
    json.dumps(result.summary)


def test_the_table_of_questions(tmp_path: Path) -> None:
    result = evaluate(sample(trial_of(tmp_path), mixed), TASK)
    table = result.questions
    assert table["question_id"].tolist() == ["q0", "q1", "q2"]
    assert set(table["trial"]) == {"gaussian x=1"}
    assert table["samples"].tolist() == [4, 4, 4]
    assert table["correct"].tolist() == [4, 0, 0]
    assert table["distinct_answers"].tolist() == [1, 1, 0]
    assert table["most_frequent_answer"].tolist()[:2] == ["0", "7"]
    assert table["most_frequent_answer"].isna().tolist() == [False, False, True]
    assert table["question"].tolist() == [problem.question for problem in TASK.problems]
    assert table["reference"].tolist() == ["0", "1", "2"]
    assert table["chosen_by_majority_vote"].tolist()[:2] == ["0", "7"]
    assert table["chosen_by_majority_vote"].isna().tolist() == [False, False, True]
    # A failure is not an answer that cannot be read, here as in the summary.
    assert table["unparsable"].tolist() == [0, 2, 0]
    assert table["errors"].tolist() == [0, 0, 4]
    assert table["unparsable"].sum() == result.summary["unparsable"]


@pytest.mark.parametrize("answer", [unreadable, failing])
@pytest.mark.parametrize("kind", ["gaussian", "none"])
def test_not_a_single_answer_is_a_result_too(tmp_path: Path, kind: str, answer: Answer) -> None:
    trial = sample(trial_of(tmp_path, kind, samples=1 if kind == "none" else 4), answer)
    result = evaluate(trial, TASK)
    assert set(values(result.rows).values()) == {0.0}
    count = 3 * trial.samples
    assert (result.summary["errors"], result.summary["unparsable"]) == ((count, 0) if answer is failing else (0, count))
    assert result.questions["most_frequent_answer"].isna().all()


def test_greedy_has_one_row(tmp_path: Path) -> None:
    [row] = evaluate(sample(trial_of(tmp_path, "none", samples=1), right), TASK).rows
    assert (row.trial, row.sampler, row.n, row.value) == ("greedy", "none", 1, 1.0)


def test_a_trial_without_sampling_stands_beside_the_greedy_line(tmp_path: Path) -> None:
    """In a sweep over latent_steps the sampler `none` is a trial like others: it must not pass for greedy decoding."""
    greedy = evaluate(sample(trial_of(tmp_path / "greedy", "none", samples=1), unreadable), TASK)
    trial = trial_of(tmp_path / "trial", "none", samples=1)
    trial = evaluate(sample(Trial("none latent_steps=2", "none", 1, (1,), trial.store), right), TASK)
    assert {row.trial for row in trial.rows} == {"none latent_steps=2"}
    lines = {line.split("  ")[0]: line.split() for line in render([*greedy.rows, *trial.rows]).splitlines()}
    assert lines["greedy"][-1] == "0.0"
    assert lines["none latent_steps=2"][-1] == "100.0"


def test_budgets_beyond_what_was_sampled_have_no_value(tmp_path: Path) -> None:
    result = evaluate(sample(trial_of(tmp_path), right, samples=2), TASK)
    found = values(result.rows)
    assert result.summary["samples"] == 2
    assert found["coverage", 2] == 1
    assert math.isnan(found["coverage", 4])
    assert math.isnan(found["majority_vote", 4])


def test_guessing_stands_beside_where_the_task_knows_how(tmp_path: Path) -> None:
    results = [evaluate(sample(trial_of(tmp_path), right), TASK)]
    assert {row.trial for row in Evaluation(results, TASK, (1, 2, 4)).rows} == {"gaussian x=1"}
    known = Task(TASK.name, TASK.problems, (0.5, 0.5, 0.0))
    guesses = [row for row in Evaluation(results, known, (1, 2)).rows if row.trial == "random_guess"]
    assert [row.n for row in guesses] == [1, 2]
    assert guesses[0].value == pytest.approx((0.5 + 0.5 + 0) / 3)


def with_scores(trial: Trial, value: Callable[[int, int], float | None]) -> Trial:
    """Store a score for every sample of all questions."""
    store = ScoreStore(trial.store, ScoreSpec("rm", "float32", False, "float16"))
    store.prepare()
    rows = [
        {
            "question_id": problem.question_id,
            "question_index": index,
            "sample_index": number,
            "score": value(index, number),
            "score_prompt_flops": 3.0,
            "score_flops": 1.0,
        }
        for index, problem in enumerate(TASK.problems)
        for number in range(trial.samples)
    ]
    store.write(Shard(0, 3, 0, trial.samples), pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))
    return replace(trial, scored=Scored(store, VoteCalibration(temperature=0.01)))


def test_scores_are_compared_with_majority_vote_and_greedy_decoding(tmp_path: Path) -> None:
    greedy = evaluate(sample(trial_of(tmp_path, "none", samples=1), lambda q, i: "0"), TASK)
    # One sample of four is right, and has the best score.
    trial = sample(trial_of(tmp_path), lambda q, i: str(q) if i == 2 else "99")
    plain = evaluate(trial, TASK)
    compared = {(one.aggregation, one.baseline) for one in Evaluation([greedy, plain], TASK, (1, 2, 4)).comparisons}
    assert compared == {("majority_vote", "greedy")}
    scored = evaluate(with_scores(trial, lambda q, i: float(i == 2)), TASK)
    assert scored.rows[: len(plain.rows)] == plain.rows
    assert list(scored.by_question) == [1, 2, 4]
    assert scored.by_question[4]["best_of_n"].tolist() == [1.0, 1.0, 1.0]
    # Half of the pairs of samples have the right one among them.
    assert scored.by_question[2]["best_of_n"].tolist() == pytest.approx([0.5, 0.5, 0.5])
    comparisons = Evaluation([greedy, scored], TASK, (1, 2, 4)).comparisons
    # At one sample there is nothing to choose.
    assert [one.n for one in comparisons if one.kind == "aggregations"] == [2] * 6 + [4] * 6
    found = {(one.aggregation, one.baseline): one for one in comparisons if one.n == 4}
    choosing = ("best_of_n", "weighted_vote")
    assert set(found) == {
        *((name, baseline) for name in choosing for baseline in ("majority_vote", "greedy")),
        ("majority_vote", "greedy"),
        ("weighted_vote", "best_of_n"),
    }
    assert found["best_of_n", "majority_vote"].difference == 1.0
    assert found["weighted_vote", "greedy"].difference == pytest.approx(2 / 3)
    assert {(one.trial, one.n, one.questions) for one in found.values()} == {("gaussian x=1", 4, 3)}
    alone = {one.baseline for one in Evaluation([scored], TASK, (1, 2, 4)).comparisons}
    assert alone == {"majority_vote", "best_of_n"}


def test_a_setting_stopped_before_its_first_budget_has_nothing_to_compare(tmp_path: Path) -> None:
    trial = replace(trial_of(tmp_path), budgets=(4,))
    result = evaluate(sample(trial, right, samples=2), TASK)
    assert dict(result.by_question) == {}
    assert Evaluation([result], TASK, (4,)).comparisons == []


def test_comparisons_are_written_where_there_are_scores_and_do_not_outlive_them(tmp_path: Path) -> None:
    config = parse_config(
        RunConfig,
        {"checkpoint": "bundled:coconut-tiny", "task": {"path": "x.json"}, "sampler": {"kind": "gaussian", "sigma": 1}},
    )
    trial = sample(trial_of(tmp_path), right)
    for scored, has in ((with_scores(trial, lambda q, i: 1.0), True), (trial, False)):
        results = [evaluate(scored, TASK)]
        files = write_files(tmp_path, config, Evaluation(results, TASK, (1, 2, 4)), {"task": "mine"})
        assert (tmp_path / "comparisons.csv").is_file() == has == ((tmp_path / "comparisons.csv") in files)


def test_a_run_directory_is_complete_and_readable(tmp_path: Path) -> None:
    config = parse_config(
        RunConfig,
        {"checkpoint": "bundled:coconut-tiny", "task": {"path": "x.json"}, "sampler": {"kind": "gaussian", "sigma": 1}},
    )
    results = [
        evaluate(sample(trial_of(tmp_path, "none", samples=1), right), TASK),
        evaluate(sample(trial_of(tmp_path), mixed, samples=2), TASK),
    ]
    evaluation = Evaluation(results, TASK, (1, 2, 4))
    out = tmp_path / "out"
    out.mkdir()
    files = write_files(out, config, evaluation, {"task": "mine", "trials": [result.summary for result in results]})
    seen = sorted(file.name for file in out.iterdir() if not file.name.startswith("."))
    assert seen == sorted(file.name for file in files)
    assert all(file.stat().st_size > 0 for file in files)
    assert load_config(RunConfig, out / "config.yaml") == config
    read = read_curves_csv(out / "curves.csv")
    assert len(read) == len(evaluation.rows)
    assert [row.n for row in read if math.isnan(row.value)] == [4, 4]
    questions = pd.read_csv(out / "questions.csv")
    assert questions["trial"].tolist() == ["greedy"] * 3 + ["gaussian x=1"] * 3
    summary = json.loads((out / "summary.json").read_text())
    assert [trial["trial"] for trial in summary["trials"]] == ["greedy", "gaussian x=1"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "gaussian x=1" in (out / "curves.html").read_text()
