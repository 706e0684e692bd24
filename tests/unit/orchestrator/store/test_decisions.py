"""How far a budget rule lets questions go, made of what a store holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support import trajectory_table

from latent_core.budgets import Budget, Prefix, parse_budget
from latent_core.budgets.gain_table import read_gain_tables
from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.trajectory import CutAnswers, Trajectory
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial

ROOT = Path(__file__).parents[4]
WAVES = (2, 5, 6, 8)
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")
RULES = [{"rule": "decided"}, {"rule": "posterior"}, {"rule": "posterior", "confidence": 0.7}]


def some_votes(generator: np.random.Generator) -> np.ndarray:
    """Eight samples of sixty questions, of which most agree more or less."""
    others = generator.integers(-1, 3, (60, 8))
    return np.where(generator.random((60, 8)) < generator.random((60, 1)), 0, others)


def one_by_one(budget: Budget, votes: np.ndarray) -> list[int]:
    """The samples of each question, asked alone and wave by wave."""
    go_on, found = budget.prepare(scored=False), []
    for own in votes:
        used = next(n for n in budget.waves if not go_on(Prefix(own[None, :n]))[0])
        found.append(used)
    return found


@pytest.mark.parametrize("config", RULES)
def test_questions_together_go_as_far_as_each_alone(config: dict[str, object]) -> None:
    budget = parse_budget({**config, "waves": list(WAVES)})
    votes = some_votes(np.random.default_rng(0))
    found = WaveBudget(budget).decide(votes, None, np.full(60, 8))
    assert found.samples.tolist() == one_by_one(budget, votes)
    assert found.open == 0
    assert len(set(found.samples.tolist())) > 1


def test_gains_are_asked_with_scores_and_their_table(tmp_path: Path) -> None:
    tables = read_gain_tables(ROOT / "latent_core" / "bundled" / "latent-rm-tiny")
    assert tables is not None
    budget = parse_budget({"rule": "gain", "mean": 12, "waves": [4, 8, 16, 32]})
    generator = np.random.default_rng(2)
    votes, scores = generator.integers(-1, 4, (40, 32)), generator.normal(-2.0, 2.0, (40, 32))
    own = WaveBudget(budget, True, tables).check()
    found = own.decide(votes, scores, np.full(40, 32))
    go_on = budget.prepare(scored=True, fitted=tables)
    alone = [
        next(n for n in budget.waves if not go_on(Prefix(vote[None, :n], score[None, :n]))[0])
        for vote, score in zip(votes, scores, strict=True)
    ]
    assert found.samples.tolist() == alone
    assert len(set(alone)) > 1
    again = WaveBudget.from_plain(json.loads(json.dumps(own.to_plain())), scored=True)
    assert again.decide(votes, scores, np.full(40, 32)).samples.tolist() == alone


@pytest.mark.parametrize("config", RULES)
def test_what_lies_behind_a_wave_changes_nothing(config: dict[str, object]) -> None:
    own = WaveBudget(parse_budget({**config, "waves": list(WAVES)}))
    generator = np.random.default_rng(1)
    votes = some_votes(generator)
    whole = own.decide(votes, None, np.full(60, 8))
    for known in (2, 3, 5, 7):
        others = votes.copy()
        others[:, known:] = generator.integers(-1, 9, (60, 8 - known))
        found = own.decide(others, None, np.full(60, known))
        settled = whole.samples <= known
        assert found.settled.tolist() == settled.tolist()
        assert found.samples[settled].tolist() == whole.samples[settled].tolist()
        assert set(found.samples[~settled].tolist()) <= {next(wave for wave in WAVES if wave > known)}


def test_open_questions_may_come_to_want_everything_and_settled_ones_nothing_more() -> None:
    own = WaveBudget(parse_budget({"rule": "decided", "waves": list(WAVES)}))
    # Five equal answers of at most eight cannot be overtaken any more.
    found = own.decide(np.zeros((3, 8), np.int64), None, np.array([0, 4, 8]))
    assert (found.samples.tolist(), found.settled.tolist()) == ([2, 5, 5], [False, False, True])
    assert found.wanted.sum(axis=1).tolist() == [8, 8, 5]
    assert found.next_wave.sum(axis=1).tolist() == [2, 5, 0]
    gone = np.ones((3, 8), np.bool_)
    gone[2, 5:] = False
    assert found.within(gone).settled.tolist() == [False, False, True]
    gone[2, 4] = False
    assert found.within(gone).open == 3


def trial_of(folder: Path, *, scored: bool = False, cut_answers: CutAnswers = "abstain") -> Trial:
    store = TrajectoryStore(str(folder), SPEC, end_ids=(0,))
    scores = Scored(ScoreStore(store, ScoreSpec("rm", "float32", False, "float16"))) if scored else None
    budget = WaveBudget(parse_budget({"rule": "decided", "waves": list(WAVES)}), scored)
    return Trial("name", "gaussian", 8, (1, 2, 8), store, scores, budget=budget, cut_answers=cut_answers)


def put(trial: Trial, shard: Shard, answers: list[str | None]) -> None:
    """Store one question's samples; "cut" was cut off, and None failed."""
    problem = Problem(f"q{shard.first_question}", "?", "1")
    rows = [
        Trajectory.failed(problem, sample, "no")
        if answer is None
        else Trajectory(
            problem.question_id,
            sample,
            "",
            answer,
            False,
            2,
            4,
            (7, 7, 7, 7 * (answer == "cut")),
            None,
            1.0,
            1.0,
            0.1,
            None,
            answer == "cut",
        )
        for sample, answer in zip(range(shard.first_sample, shard.end_sample), answers, strict=True)
    ]
    trial.store.prepare()
    trial.store.write(shard, trajectory_table(rows, shard.first_question, shard.samples))


@pytest.mark.parametrize(("cut_answers", "samples"), [("abstain", 8), ("vote", 6)])
def test_cut_answers_vote_or_not_as_they_do_in_results(tmp_path: Path, cut_answers: CutAnswers, samples: int) -> None:
    """Six equal answers of at most eight cannot be overtaken, if they count."""
    budget = WaveBudget(parse_budget({"rule": "decided", "waves": [2, 6, 8]}))
    trial = replace(trial_of(tmp_path, cut_answers=cut_answers), budget=budget)
    put(trial, Shard(0, 1, 0, 8), ["cut"] * 6 + ["1", None])
    found = trial.coverage(1).decisions
    assert found is not None
    assert (found.samples.tolist(), found.open) == ([samples], 0)


ASKS_CONFIDENCE = {"rule": "gain", "mean": 4, "own_confidence": True, "waves": list(WAVES)}


def test_only_a_rule_that_looks_at_confidence_reads_it(tmp_path: Path) -> None:
    trial = trial_of(tmp_path)
    assert trial.seen(range(1)).record_columns == ("answer", "error", "cut")
    budget = WaveBudget(parse_budget(ASKS_CONFIDENCE), True)
    columns = ("answer", "error", "cut", "answer_logprob", "answer_tokens")
    assert replace(trial, budget=budget).seen(range(1)).record_columns == columns


def test_a_store_that_is_older_than_confidence_is_refused_in_a_line(tmp_path: Path) -> None:
    trial = trial_of(tmp_path)
    put(trial, Shard(0, 1, 0, 3), ["1", None, "1"])
    [file] = Path(trial.store.directory).glob("q*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["answer_logprob", "token_entropy"]), file)
    decisions = trial.coverage(2).decisions
    assert decisions is not None, "a rule that does not look at it is asked as before"
    assert decisions.samples.tolist() == [5, 2]
    asking = replace(trial, budget=WaveBudget(parse_budget(ASKS_CONFIDENCE)))
    with pytest.raises(UserError) as caught:
        asking.coverage(2)
    assert str(caught.value) == (
        "name: budget.rule gain mean=4 own_confidence=True looks at the reasoner's own confidence, and 2 of its stored "
        "trajectories are older than the record of it; sample into another store.path, or take a rule that does not "
        "look at it"
    )


def test_a_question_is_decided_upon_once_it_is_scored(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, scored=True)
    seen = trial.seen(range(3, 5))
    rows = pd.DataFrame({"question_index": 3, "sample_index": range(8), "answer": "1", "error": None, "cut": False})
    seen.add(rows)
    assert seen.decide().samples.tolist() == [2, 2]
    seen.add_scores(pd.DataFrame({"question_index": 3, "sample_index": range(8), "score": np.nan}))
    assert seen.decide().settled.tolist() == [True, False]


def test_a_trial_keeps_its_budget_in_plain_form(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, scored=True)
    again = Trial.from_plain(trial.to_plain(), str(tmp_path))
    assert again.budget == trial.budget
    assert again.fixed_budgets == (1, 2)
    plain = trial.to_plain()
    del plain["budget"]
    assert Trial.from_plain(plain, str(tmp_path)).budget is None


def test_coverage_asks_for_no_more_than_the_rule(tmp_path: Path) -> None:
    trial = trial_of(tmp_path)
    put(trial, Shard(0, 1, 0, 8), ["1"] * 8)
    put(trial, Shard(1, 2, 0, 5), ["1", "2", "3", "4", "5"])
    found = trial.coverage(3)
    assert found.decisions is not None
    assert found.decisions.settled.tolist() == [True, False, False]
    assert found.wanted.sum(axis=1).tolist() == [5, 8, 8]
    assert found.lacking.sum(axis=1).tolist() == [0, 3, 8]
    assert found.ready_samples == 0
    put(trial, Shard(2, 3, 0, 2), ["1", "1"])
    assert trial.coverage(3).ready_samples == 2
