"""What a budget rule came to: each question judged with the samples that it got, and what they cost."""

from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.budgets import parse_budget
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis.evaluation import evaluate, points_so_far
from orchestrator.analysis.online_rows import online_rows
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from workers.tables import SCORE_SCHEMA

QUESTIONS, LAST, PROMPT, SAMPLE, SCORER_PROMPT, SCORE = 9, 16, 100.0, 7.0, 50.0, 3.0
PROBLEMS = [Problem(f"q{index}", f"question {index}?", "0", grader="numeric") for index in range(QUESTIONS)]
TASK = Task("made up", PROBLEMS)
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")


def answer_of(question: int, sample: int) -> str:
    return str(int(np.random.default_rng([question, sample]).integers(1 + question % 4)))


def score_of(question: int, sample: int) -> float:
    return float(np.random.default_rng([question, sample, 1]).normal())


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """All samples up to the horizon are in the store, with scores, as a run without a rule leaves them."""
    store = TrajectoryStore(str(tmp_path), SPEC, "float16", end_ids=(0,))
    scores = ScoreStore(store, ScoreSpec("rm", "float32", False, "float16"))
    budget = WaveBudget(parse_budget({"rule": "posterior", "confidence": 0.9, "waves": [2, 4, 8, LAST]}), True)
    places = [(question, sample) for question in range(QUESTIONS) for sample in range(LAST)]
    rows = [
        Trajectory(
            f"q{q}",
            s,
            "",
            answer_of(q, s),
            answer_of(q, s) == "0",
            2,
            2,
            (7, 0),
            np.ones((2, 3), np.float32),
            PROMPT,
            SAMPLE,
            0.1,
        )
        for q, s in places
    ]
    store.prepare()
    store.write(Shard(0, QUESTIONS, 0, LAST), trajectory_table(rows, 0, LAST, "float16"))
    scores.prepare()
    table = [
        {
            "question_id": f"q{q}",
            "question_index": q,
            "sample_index": s,
            "step_scores": [score_of(q, s)],
            "score": score_of(q, s),
            "answer_score": None,
            "score_prompt_flops": SCORER_PROMPT,
            "score_flops": SCORE,
            "score_seconds": 0.1,
        }
        for q, s in places
    ]
    scores.write(Shard(0, QUESTIONS, 0, LAST), pa.Table.from_pylist(table, schema=SCORE_SCHEMA))
    return Trial("name", "gaussian", LAST, (1, 2, LAST), store, Scored(scores), budget=budget)


def used_of(trial: Trial) -> list[int]:
    found = trial.coverage(QUESTIONS).decisions
    assert found is not None
    assert found.open == 0
    assert len(set(found.samples.tolist())) > 2
    return found.samples.tolist()


def test_each_question_is_judged_with_the_samples_that_it_got(trial: Trial) -> None:
    used = used_of(trial)
    result = evaluate(trial, TASK)
    points = {point.aggregation: point for point in result.points if point.n == LAST}
    answers = [[answer_of(q, s) for s in range(n)] for q, n in enumerate(used)]
    right_at_all = [float("0" in own) for own in answers]
    assert points["coverage"].by_question.tolist() == right_at_all
    best = [answer_of(q, max(range(n), key=lambda s: score_of(q, s))) == "0" for q, n in enumerate(used)]
    assert points["best_of_n"].by_question.tolist() == list(map(float, best))
    for question, own in enumerate(answers):
        counts = {answer: own.count(answer) for answer in own}
        leaders = [answer for answer, count in counts.items() if count == max(counts.values())]
        assert points["majority_vote"].by_question[question] == pytest.approx(("0" in leaders) / len(leaders))
    assert {point.trajectories for point in points.values()} == {sum(used)}
    assert result.questions["samples"].tolist() == used
    assert result.questions["correct"].tolist() == [own.count("0") for own in answers]
    assert result.questions["chosen_by_best_of_n"].tolist() == [
        answer_of(q, max(range(n), key=lambda s: score_of(q, s))) for q, n in enumerate(used)
    ]
    assert result.summary["trajectories"] == sum(used)
    assert result.summary["samples"] == 2
    assert result.summary["budget"]["mean_samples"] == pytest.approx(sum(used) / QUESTIONS)
    assert sum(result.summary["budget"]["questions_by_samples"].values()) == QUESTIONS


def test_a_prompt_is_paid_for_in_every_wave(trial: Trial) -> None:
    used = used_of(trial)
    reads = sum([2, 4, 8, LAST].index(n) + 1 for n in used)
    costs = {point.aggregation: point.flops for point in evaluate(trial, TASK).points if point.n == LAST}
    assert costs["majority_vote"] == pytest.approx(reads * PROMPT + sum(used) * SAMPLE)
    assert costs["best_of_n"] == pytest.approx(reads * (PROMPT + SCORER_PROMPT) + sum(used) * (SAMPLE + SCORE))


def test_curves_end_with_the_first_wave_though_the_store_has_more(trial: Trial) -> None:
    points = evaluate(trial, TASK).points
    assert sorted({point.n for point in points}) == [1, 2, LAST]
    first = {point.aggregation: point.value for point in points if point.n == 1}
    share = np.mean([answer_of(q, s) == "0" for q in range(QUESTIONS) for s in range(2)])
    assert first["coverage"] == pytest.approx(share)


def test_there_is_no_adaptive_point_while_a_question_is_open(trial: Trial) -> None:
    files = list(Path(trial.store.directory).glob("q*.parquet"))
    table = trial.store.table(Shard(0, QUESTIONS, 0, LAST), "float16")
    for file in files:
        file.unlink()
    rows = [q * LAST + s for q in range(QUESTIONS) for s in range(3)]
    trial.store.write(Shard(0, QUESTIONS, 0, 3), table.take(rows))
    result = evaluate(trial, TASK)
    assert {point.n for point in result.points} == {1, 2}
    assert result.summary["budget"]["open"] > 0
    assert set(result.questions["samples"]) == {2}


def test_a_trial_of_a_sweep_reports_the_same(trial: Trial) -> None:
    reported = {(point.aggregation, point.n): point.value for point in points_so_far(trial, PROBLEMS, LAST)}
    written = {(point.aggregation, point.n): point.value for point in evaluate(trial, TASK).points}
    assert reported == pytest.approx(written)


def test_a_rule_that_decided_online_has_lines_of_its_own(trial: Trial) -> None:
    used = used_of(trial)
    rows = {row.aggregation: row for row in online_rows([evaluate(trial, TASK)], TASK)}
    assert set(rows) >= {"majority_vote", "best_of_n", "coverage"}
    best, vote = rows["best_of_n"], rows["majority_vote"]
    right = [answer_of(q, max(range(n), key=lambda s: score_of(q, s))) == "0" for q, n in enumerate(used)]
    assert best.value == pytest.approx(np.mean(right))
    assert (vote.how, vote.rule, vote.horizon) == ("online", "posterior confidence=0.9", LAST)
    assert vote.samples == pytest.approx(np.mean(used))
    assert vote.waves == pytest.approx(np.mean([[2, 4, 8, LAST].index(n) + 1 for n in used]))
    assert vote.flops == pytest.approx(QUESTIONS * PROMPT + sum(used) * SAMPLE)
    assert vote.flops_prompts_again - vote.flops == pytest.approx((vote.waves - 1) * QUESTIONS * PROMPT)
    # Nobody has drawn as many for every question.
    assert np.isnan([vote.fixed, vote.difference, vote.difference_lo, vote.difference_hi]).all()


def test_it_is_compared_where_the_run_has_all_its_samples_too(trial: Trial) -> None:
    used = used_of(trial)
    full = replace(trial, name="all of them", budget=None)
    rows = online_rows([evaluate(trial, TASK), evaluate(full, TASK)], TASK)
    [row] = [row for row in rows if row.aggregation == "coverage"]
    mean = float(np.mean(used))

    def covered(n: int) -> float:
        """Chance that n of a question's samples hold a right one, by hypergeometric counts."""
        right = [sum(answer_of(q, s) == "0" for s in range(LAST)) for q in range(QUESTIONS)]
        return float(np.mean([1 - comb(LAST - k, n) / comb(LAST, n) for k in right]))

    low, high = int(np.floor(mean)), int(np.ceil(mean))
    assert low < mean < high <= 9, "the grid of fixed budgets holds all numbers here"
    assert row.fixed == pytest.approx(covered(low) + (mean - low) * (covered(high) - covered(low)))
    assert row.difference == pytest.approx(row.value - row.fixed)
    assert row.difference_lo <= row.difference <= row.difference_hi
    # A trial without a rule adds none, and one that drew others is no match.
    assert {one.trial for one in rows} == {trial.name}
    other = replace(full, cut_answers="vote")
    assert np.isnan(online_rows([evaluate(trial, TASK), evaluate(other, TASK)], TASK)[0].fixed)
