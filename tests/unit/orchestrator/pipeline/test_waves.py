"""Waves of a block, with actors that answer at once: what is asked of them, what is stored, and what is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from support import stored_rows, trajectory_table, work_block

from latent_core.budgets import Budget, BudgetRule, Decide, GainTables, Prefix, parse_budget
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.budgets.replay import views
from latent_core.reward.types import Score, ScoreBatch
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.analysis.outcomes import outcomes_from_records
from orchestrator.pipeline import waves
from orchestrator.pipeline.waves import Part, RunWaves, parts_of
from orchestrator.store.decisions import WaveBudget
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial
from workers.requests import SampleRequest, ScoreRequest
from workers.tables import questions_to_score, score_table

SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")
PROBLEMS = tuple(Problem(f"q{index}", f"question {index}?", "0", grader="numeric") for index in range(12))
BLOCK = Shard(4, 10, 0, 16)


def answer_of(question: int, sample: int) -> str:
    """What a question is answered in a sample: the harder it is, the more answers there are."""
    return str(int(np.random.default_rng([question, sample]).integers(1 + question % 4)))


def row_of(question: int, sample: int) -> Trajectory:
    answer, latents = answer_of(question, sample), np.full((2, 3), question + sample / 100, np.float32)
    row = Trajectory(f"q{question}", sample, answer, answer, answer == "0", 2, 2, (sample, 0), latents, 1, 2, 0.1)
    return row._replace(answer_logprob=-float(np.random.default_rng([question, sample, 2]).gamma(1 + int(answer))))


@dataclass
class Actors:
    """Answer like pools of actors, of one reasoner and one scorer."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    dies_after: int | None = None

    def call(self, method: str, request: Any, preferred: int) -> pa.Table:
        assert preferred == 7
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            raise RuntimeError("killed")
        self.calls.append((method, request))
        return self.sampled(request) if method == "sample" else self.scored(request)

    @staticmethod
    def sampled(request: SampleRequest) -> pa.Table:
        samples = range(request.first_sample, request.first_sample + request.samples)
        rows = [row_of(int(one.question_id[1:]), sample) for one in request.problems for sample in samples]
        return trajectory_table(rows, request.first_question, request.samples, request.latents)

    @staticmethod
    def scored(request: ScoreRequest) -> pa.Table:
        questions = questions_to_score(request.trajectories, request.samples, request.questions, request.latents)
        assert [one.question for one in questions] == list(request.questions)
        rows = [
            Score(latents[:, 0].astype(np.float32), None, 1.0, 2.0, 0.0, 0.1)
            for one in questions
            for latents in one.latents
        ]
        return score_table(request.trajectories, ScoreBatch.of(rows))


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    made = Actors()
    monkeypatch.setattr(waves, "actor_pool", lambda names: made)
    return made


POSTERIOR = {"rule": "posterior", "confidence": 0.9, "waves": [2, 4, 8, 16]}
CONFIDENT = {"rule": "gain", "mean": 5, "own_confidence": True, "waves": [2, 4, 8, 16]}


def outcomes_of_all(questions: range, order: Sequence[int] = range(16)) -> Outcomes:
    """What reports make of all sixteen samples of questions, as they were stored and scored."""
    rows = [row_of(question, sample) for question in questions for sample in order]
    table = trajectory_table(rows, questions.start, 16, "float16").to_pandas()
    table["score"] = [np.float32(np.float16(q + s / 100)) * 2 for q in questions for s in order]
    names = [f"q{question}" for question in questions]
    return outcomes_from_records(table, names, calibration=VoteCalibration(temperature=0.5))


def trial_of(folder: Path, *, scored: bool = False, rule: Mapping[str, Any] = POSTERIOR) -> Trial:
    store = TrajectoryStore(str(folder), SPEC, "float16" if scored else "none")
    scores = Scored(ScoreStore(store, ScoreSpec("rm", "float32", False, "float16"))) if scored else None
    fitted = None
    if rule["rule"] == "gain":
        fitted = fit_gain_tables(outcomes_of_all(range(20, 60)), rule["waves"], 0.5, orders=4)
    budget = WaveBudget(parse_budget(rule), scored, fitted)
    store.prepare()
    if scores is not None:
        scores.store.prepare()
    return Trial("name", "gaussian", 16, (1, 2, 16), store, scores, budget=budget)


def run(trial: Trial, *, per_call: int = 64, begun: bool = False) -> dict[str, int]:
    stage = RunWaves(trial, ["one"], ["two"], per_call, [begun] * len(PROBLEMS))
    [receipt] = stage(work_block(7, BLOCK, PROBLEMS)).to_pylist()
    return receipt


def expected(trial: Trial) -> list[int]:
    """The samples of each question of the block, by the rule on all sixteen of each."""
    assert trial.budget is not None
    questions = range(BLOCK.first_question, BLOCK.end_question)
    votes = np.array([[int(answer_of(question, sample)) for sample in range(16)] for question in questions])
    found = trial.budget.decide(votes, np.zeros(votes.shape) if trial.scored else None, np.full(len(votes), 16))
    return found.samples.tolist()


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("per_call", [3, 64])
def test_online_is_offline_on_the_same_samples(tmp_path: Path, actors: Actors, scored: bool, per_call: int) -> None:
    trial = trial_of(tmp_path, scored=scored)
    receipt = run(trial, per_call=per_call)
    wanted = expected(trial)
    assert len(set(wanted)) > 1
    covered = trial.store.covered(BLOCK.end_question, 16)[BLOCK.first_question :]
    assert covered.sum(axis=1).tolist() == wanted
    assert (receipt["rows"], receipt["settled"]) == (sum(wanted), 6)
    assert receipt["spared"] == 6 * 16 - sum(wanted)
    decisions = trial.coverage(BLOCK.end_question).decisions
    assert decisions is not None
    assert decisions.samples[BLOCK.first_question :].tolist() == wanted
    for row in stored_rows(Path(trial.store.directory)).itertuples():
        assert row.answer == answer_of(row.question_index, row.sample_index)
        assert row.question_id == f"q{row.question_index}"
    if trial.scored is not None:
        rows = stored_rows(Path(trial.scored.store.directory))
        assert len(rows) == sum(wanted)
        close = 2 * (rows["question_index"] + rows["sample_index"] / 100)
        np.testing.assert_allclose(rows["score"], close.to_numpy(), rtol=1e-3)


@pytest.mark.parametrize("per_call", [3, 64])
def test_confidence_online_is_confidence_offline(tmp_path: Path, actors: Actors, per_call: int) -> None:
    trial = trial_of(tmp_path, scored=True, rule=CONFIDENT)
    assert trial.budget is not None
    run(trial, per_call=per_call)
    decide, outcomes = (
        trial.budget.budget.prepare(scored=True, fitted=trial.budget.fitted),
        outcomes_of_all(range(4, 10)),
    )
    in_order = np.broadcast_to(np.arange(16), (6, 1, 16))
    wanted, going = np.full(6, 16), np.ones(6, dtype=np.bool_)
    for wave, view in zip((2, 4, 8), views(outcomes, in_order, (2, 4, 8)), strict=True):
        stops = going & ~decide(view.prefix)
        wanted[stops], going[stops] = wave, False
    assert len(set(wanted.tolist())) > 1
    covered = trial.store.covered(BLOCK.end_question, 16)[BLOCK.first_question :]
    assert covered.sum(axis=1).tolist() == wanted.tolist()
    decisions = trial.coverage(BLOCK.end_question).decisions
    assert decisions is not None
    assert decisions.samples[BLOCK.first_question :].tolist() == wanted.tolist()


class Notes(BudgetRule):
    """Goes on to the end, and keeps what it was asked with."""

    kind: ClassVar[str] = "notes"
    asked: ClassVar[list[Prefix]] = []

    @property
    def reads_confidence(self) -> bool:
        return True

    def prepare(self, waves: Sequence[int], fitted: GainTables | None) -> Decide:
        self.asked.clear()

        def go_on(seen: Prefix) -> NDArray[np.bool_]:
            self.asked.append(seen)
            return np.ones(len(seen.votes), dtype=np.bool_)

        return go_on


def test_a_rule_online_sees_the_numbers_that_reports_see(tmp_path: Path, actors: Actors) -> None:
    trial = trial_of(tmp_path, scored=True)
    run(replace(trial, budget=WaveBudget(Budget(Notes(), (2, 4, 8, 16)), True)))
    in_order = np.broadcast_to(np.arange(16), (6, 1, 16))
    offline = [view.prefix for view in views(outcomes_of_all(range(4, 10)), in_order, (2, 4, 8))]
    assert [one.samples for one in Notes.asked[-3:]] == [2, 4, 8]
    for online, expected in zip(Notes.asked[-3:], offline, strict=True):
        for name in ("scores", "confidences", "confidence_weights"):
            np.testing.assert_array_equal(getattr(online, name), getattr(expected, name))


def test_questions_that_lack_the_same_samples_are_asked_in_one_call(tmp_path: Path, actors: Actors) -> None:
    run(trial := trial_of(tmp_path))
    spans = [(request.first_sample, request.samples) for _, request in actors.calls]
    assert spans == [(0, 2), (2, 2), (4, 4), (8, 8)][: len(spans)]
    wanted = dict(zip([problem.question_id for problem in PROBLEMS[4:10]], expected(trial), strict=True))
    for _, request in actors.calls:
        going = [name for name, samples in wanted.items() if samples > request.first_sample]
        assert [problem.question_id for problem in request.problems] == going


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_block_that_was_killed_goes_on_to_the_same_samples(
    tmp_path: Path, actors: Actors, scored: bool, calls: int
) -> None:
    whole, killed = (trial_of(tmp_path / name, scored=scored) for name in ("whole", "killed"))
    run(whole)
    done = len(actors.calls)
    actors.calls, actors.dies_after = [], calls
    with pytest.raises(RuntimeError, match="killed"):
        run(killed)
    actors.dies_after = None
    run(killed, begun=True)
    assert len(actors.calls) == done
    for one, other in zip(whole.folders, killed.folders, strict=True):
        assert stored_rows(Path(one.directory)).equals(stored_rows(Path(other.directory)))


def test_what_a_fixed_run_has_left_is_used_and_only_scored(tmp_path: Path, actors: Actors) -> None:
    trial = trial_of(tmp_path, scored=True)
    shard = Shard(4, 10, 0, 16)
    rows = [row_of(question, sample) for question in range(4, 10) for sample in range(16)]
    trial.store.write(shard, trajectory_table(rows, 4, 16, "float16"))
    receipt = run(trial, begun=True)
    assert {method for method, _ in actors.calls} == {"score"}
    assert trial.scored is not None
    scored = trial.scored.store.covered(10, 16)[4:]
    assert scored.sum(axis=1).tolist() == expected(trial)
    assert (receipt["rows"], receipt["spared"]) == (scored.sum(), 6 * 16 - scored.sum())


def test_a_fixed_run_draws_only_what_waves_have_left_out(tmp_path: Path, actors: Actors) -> None:
    trial = trial_of(tmp_path)
    run(trial)
    fixed = replace(trial, budget=None, budgets=(16,))
    shards = missing_shards(fixed.coverage(10).sampled[4:], 6, 64)
    assert sum(shard.rows for shard in shards) == 6 * 16 - sum(expected(trial))


def test_a_settled_block_asks_nobody(tmp_path: Path, actors: Actors) -> None:
    trial = trial_of(tmp_path)
    run(trial)
    actors.calls = []
    assert run(trial, begun=True) == {"rows": 0, "correct": 0, "errors": 0, "settled": 0, "spared": 0}
    assert actors.calls == []


def test_a_rule_is_never_asked_with_more_than_its_wave(
    tmp_path: Path, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored behind a wave, and with what answers, changes nothing."""
    trial = trial_of(tmp_path)
    run(trial)
    before = trial.coverage(10).decisions
    misleading = trial_of(tmp_path / "other")
    for question, samples in zip(range(4, 10), expected(trial), strict=True):
        rows = [row_of(question, sample) for sample in range(samples)]
        rows += [row_of(question, sample)._replace(answer=f"{sample}") for sample in range(samples, 16)]
        misleading.store.write(Shard(question, question + 1, 0, 16), trajectory_table(rows, question, 16))
    after = misleading.coverage(10).decisions
    assert before is not None
    assert after is not None
    assert after.samples[4:].tolist() == before.samples[4:].tolist()


def test_parts_join_questions_and_cut_samples() -> None:
    lacking = np.zeros((4, 8), np.bool_)
    lacking[[0, 1, 3], 2:7] = True
    lacking[2, 6] = True
    parts = parts_of(lacking, 10, 4)
    assert parts == [
        Part((10, 11, 13), range(2, 6)),
        Part((10, 11, 12, 13), range(6, 7)),
    ]
    assert list(parts[0].shards()) == [(0, Shard(10, 12, 2, 6)), (8, Shard(13, 14, 2, 6))]
    assert Part.of(Shard(3, 5, 1, 2)) == Part((3, 4), range(1, 2))


def test_an_answer_of_another_size_is_not_stored() -> None:
    table = trajectory_table([row_of(0, 0)], 0, 1)
    with pytest.raises(ValueError, match="1 rows are not those of"):
        Part((0, 1), range(1)).addressed(table)
