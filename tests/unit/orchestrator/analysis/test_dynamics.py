"""From a store to dynamics: what is read, what is decoded and kept, and what is said where something is missing."""

import errno
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.errors import UserError
from latent_core.models.thought_decoder import ThoughtDecoder
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import Trajectory
from orchestrator.analysis import dynamics as module
from orchestrator.analysis.dynamics import HeadSource, dynamics_of
from orchestrator.analysis.dynamics_rows import DynamicsRow, TrialDynamics
from orchestrator.analysis.evaluation import evaluate
from orchestrator.analysis.kept.dynamics import evaluate_dynamics
from orchestrator.analysis.kept.results import RECORD, KeptResults
from orchestrator.names import GREEDY
from orchestrator.store.shards import Shard
from orchestrator.store.specs import ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.thoughts import ThoughtStore
from orchestrator.store.trial import Scored, Trial
from workers.tables import SCORE_SCHEMA

QUESTIONS, SAMPLES, STEPS, WIDTH = 7, 4, 3, 8
PROBLEMS = tuple(Problem(f"q{index}", "?", "1") for index in range(QUESTIONS))
# A latent decodes to the number of its largest coordinate.
HEAD = ThoughtDecoder(np.eye(WIDTH, dtype=np.float32))


def spec(**sampler: Any) -> TrajectorySpec:
    return TrajectorySpec("checkpoint", "t", sampler, STEPS, 4, 0, "float32")


def latents(question: int, sample: int, steps: int = STEPS) -> np.ndarray:
    """Samples of even number think 0 0 0 as greedy does, the others 0 2 2."""
    rng = np.random.default_rng(100 * question + sample)
    values = 0.1 * rng.random((steps, WIDTH))
    values[:, 0] += 1.0
    if sample % 2:
        values[1:, 2] += 3.0
    return values.astype(np.float16)


def made(root: Path, name: str, samples: int, sampler: dict[str, Any], kept: str = "float16") -> Trial:
    return Trial(name, sampler["kind"], samples, (samples,), TrajectoryStore(str(root), spec(**sampler), kept))


def sample(trial: Trial, shard: Shard, failed: tuple[int, int] | None = None, short: bool = False) -> None:
    rows = []
    for q in range(shard.first_question, shard.end_question):
        for i in range(shard.first_sample, shard.end_sample):
            steps = 2 if short and i == 2 else STEPS
            row = Trajectory(f"q{q}", i, "1", "1", True, steps, 1, (5,), latents(q, i, steps), 1.0, 2.0, 0.1)
            if i % 2:
                row = row._replace(answer="2", correct=False)
            rows.append(Trajectory.failed(PROBLEMS[q], i, "broken") if (q, i) == failed else row)
    trial.store.prepare()
    trial.store.write(shard, trajectory_table(rows, shard.first_question, shard.samples, trial.store.latents))


@pytest.fixture
def greedy(tmp_path: Path) -> Trial:
    trial = made(tmp_path, GREEDY, 1, {"kind": "none"})
    sample(trial, Shard(0, 4, 0, 1))
    sample(trial, Shard(4, QUESTIONS, 0, 1))
    return trial


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    one = made(tmp_path, "gaussian sigma=0.4", SAMPLES, {"kind": "gaussian", "sigma": 0.4})
    sample(one, Shard(0, 3, 0, SAMPLES))
    sample(one, Shard(3, QUESTIONS, 0, 2))
    sample(one, Shard(3, QUESTIONS, 2, SAMPLES))
    return one


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> HeadSource:
    monkeypatch.setattr(ThoughtDecoder, "of", lambda _: HEAD)
    checkpoint: Callable[[], Any] = lambda: SimpleNamespace(fingerprint="checkpoint")  # noqa: E731
    return HeadSource(checkpoint)


def nobody() -> Any:
    raise UserError("checkpoint gone: no such directory")


def values(found: TrialDynamics) -> dict[tuple[str, int], float]:
    return {(row.measure, row.step): row.value for row in found.rows}


def test_dynamics_of_a_store(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    found = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    assert found.missing == ()
    own = values(found)
    assert own["effective_thoughts", 1] == 1.0
    assert own["effective_thoughts", 3] == pytest.approx(2.0)
    assert own["leaves_greedy_path", 2] == own["on_greedy_path", 3] == 0.5
    assert own["right_of_leaving", 2] == 0.0
    assert own["right_on_path", 3] == 1.0
    assert own["variance_between_thoughts", 2] > 0.95
    assert own["greedy_shift", 1] < own["greedy_shift", 2]
    assert own["cosine_distance", 3] == pytest.approx(found.dispersion.value)
    assert ("auc", 1) not in own
    first = found.rows[0]
    assert isinstance(first, DynamicsRow)
    assert (first.trial, first.sampler, first.questions, first.samples) == (trial.name, "gaussian", QUESTIONS, SAMPLES)
    summary = found.summary()
    assert summary["effective_thoughts"] == {"1": 1.0, "2": pytest.approx(2.0), "3": pytest.approx(2.0)}
    assert summary["missing"] == []


def test_blocks_make_no_difference(
    trial: Trial, greedy: Trial, head: HeadSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 1)
    parts = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    for one, other in zip(whole.rows, parts.rows, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-5, abs=1e-6)


def test_thoughts_that_have_been_decoded_are_kept(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    first = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    stored = ThoughtStore(trial.store).read(QUESTIONS, SAMPLES, ["thoughts"])["thoughts"]
    assert [row.tolist() for row in stored[:2]] == [[0, 0, 0], [0, 2, 2]]
    again = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, HeadSource(nobody))
    assert again == first


def read_latents(self: TrajectoryStore, *_: Any, **__: Any) -> Any:
    raise AssertionError("what is kept needs no latents")


def test_dynamics_are_computed_once_for_what_they_are_made_of(
    trial: Trial, greedy: Trial, head: HeadSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task("t", PROBLEMS)
    results = [evaluate(one, task) for one in (greedy, trial)]

    def made() -> list[TrialDynamics]:
        record = KeptResults(tmp_path)
        found = evaluate_dynamics(results, task, head, kept=record)
        record.save()
        return found

    first = made()
    assert repr(first) == repr([dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)])
    with monkeypatch.context() as patch:
        patch.setattr(TrajectoryStore, "read", read_latents)
        assert repr(made()) == repr(first)
    # One of the samples has failed when it is made anew: another content of the same name.
    sample(trial, Shard(0, 3, 0, SAMPLES), failed=(1, 1))
    second = made()
    assert repr(second) != repr(first)
    assert repr(second) == repr([dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)])
    (tmp_path / RECORD).write_text("spoilt")
    assert repr(made()) == repr(second)


def test_dynamics_that_lack_something_are_not_kept(trial: Trial, head: HeadSource, tmp_path: Path) -> None:
    task = Task("t", PROBLEMS)
    record = KeptResults(tmp_path)
    [found] = evaluate_dynamics([evaluate(trial, task)], task, head, kept=record)
    record.save()
    assert found.missing
    assert not (tmp_path / RECORD).exists()


def test_without_the_output_head_the_rest_is_there(trial: Trial, greedy: Trial) -> None:
    found = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, HeadSource(nobody))
    assert found.missing == ("decoded thoughts: not stored, and checkpoint gone: no such directory",)
    assert {row.measure for row in found.rows} == {
        "cosine_distance",
        "greedy_distance",
        "greedy_shift",
        "components_90",
    }


def test_another_checkpoint_decodes_nothing(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    head.open_checkpoint = lambda: SimpleNamespace(fingerprint="other")  # type: ignore[assignment,return-value]
    (line,) = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head).missing
    assert "no longer the one that was sampled from (other, then checkpoint)" in line


def test_what_takes_long_is_decoded_when_it_is_asked_for(
    trial: Trial, greedy: Trial, head: HeadSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_DECODING_FLOPS", 10.0)
    (line,) = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head).missing
    assert "`latentswarm report RUN_DIR --thoughts` computes them once" in line
    head.unlimited = True
    assert dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head).missing == ()


def test_rows_that_have_been_sampled_again_are_decoded_again(
    tmp_path: Path, trial: Trial, greedy: Trial, head: HeadSource
) -> None:
    whole = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    sample(trial, Shard(0, 3, 0, SAMPLES), failed=(1, 2))
    failed = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    assert values(failed)["leaves_greedy_path", 2] == pytest.approx(14 / 27)
    sample(trial, Shard(0, 3, 0, SAMPLES))
    assert values(dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)) == values(whole)


def test_damaged_thoughts_are_decoded_again(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    whole = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    for file in Path(ThoughtStore(trial.store).directory).glob("q*.parquet"):
        file.write_bytes(b"nonsense")
    assert dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head) == whole


def test_a_store_that_cannot_be_written_is_as_good(
    trial: Trial, greedy: Trial, head: HeadSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(ThoughtStore, "write", refuse)
    found = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    assert values(found)["leaves_greedy_path", 2] == 0.5
    assert set(found.missing) == {"decoded thoughts are not kept: [Errno 30] Read-only file system"}


def test_no_latents_are_said_in_a_line(tmp_path: Path, greedy: Trial, head: HeadSource) -> None:
    bare = made(tmp_path, "mc_dropout p=0.1", SAMPLES, {"kind": "mc_dropout", "p": 0.1}, "none")
    sample(bare, Shard(0, QUESTIONS, 0, SAMPLES))
    found = dynamics_of(bare, greedy, PROBLEMS, SAMPLES, head)
    assert found.rows == ()
    assert found.missing == ("no latents are stored (store.latents is none, or auto without a scorer)",)
    assert math.isnan(found.dispersion.value)
    assert found.summary() == {"samples": 0, "missing": list(found.missing)}


def test_greedy_latents_may_be_missing(tmp_path: Path, trial: Trial, head: HeadSource) -> None:
    older = made(tmp_path / "older", GREEDY, 1, {"kind": "none"}, "none")
    sample(older, Shard(0, QUESTIONS, 0, 1))
    for base in (older, None):
        found = dynamics_of(trial, base, PROBLEMS, SAMPLES, head)
        (line,) = found.missing
        assert line.startswith("distance from the greedy path, and where samples leave it: no latents of greedy")
        assert {row.measure for row in found.rows} == {
            "cosine_distance",
            "components_90",
            "effective_thoughts",
            "variance_between_thoughts",
        }


def test_a_trial_that_did_not_want_latents_may_have_them(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    store = TrajectoryStore(greedy.store.root, greedy.store.spec, "none")
    assert dynamics_of(trial, replace(greedy, store=store), PROBLEMS, SAMPLES, head).missing == ()


def test_failed_rows_and_adaptive_lengths(tmp_path: Path, greedy: Trial, head: HeadSource) -> None:
    one = made(tmp_path, "gaussian sigma=0.9", SAMPLES, {"kind": "gaussian", "sigma": 0.9})
    sample(one, Shard(0, QUESTIONS, 0, SAMPLES), failed=(2, 0), short=True)
    own = values(dynamics_of(one, greedy, PROBLEMS, SAMPLES, head))
    # Sample 2 of each question ends before the greedy trajectory does.
    assert own["leaves_greedy_path", 3] == pytest.approx(QUESTIONS / (QUESTIONS * SAMPLES - 1))
    # And with it, its sequence is another one than that of sample 0, where sample 0 is there.
    number = (6 * 2**1.5 + math.exp(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))) / 7
    assert own["effective_thoughts", 3] == pytest.approx(number)


def test_one_sample_one_question_and_nothing_but_failures(tmp_path: Path, greedy: Trial, head: HeadSource) -> None:
    one = made(tmp_path, "gaussian sigma=1.9", SAMPLES, {"kind": "gaussian", "sigma": 1.9})
    sample(one, Shard(0, 1, 0, 1))
    own = values(dynamics_of(one, greedy, PROBLEMS[:1], 1, head))
    assert own["effective_thoughts", 3] == 1.0
    assert ("cosine_distance", 1) not in own
    assert ("components_90", 1) not in own
    sample(one, Shard(0, 1, 0, 1), failed=(0, 0))
    found = dynamics_of(one, greedy, PROBLEMS[:1], 1, head)
    assert found.rows == ()
    assert "no trajectory has a latent" in found.missing


def test_damaged_latents_leave_everything_else(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    file = next(iter(sorted(Path(trial.store.directory).glob("q*.parquet"))))
    file.write_bytes(file.read_bytes()[:-20])
    found = dynamics_of(trial, greedy, PROBLEMS, SAMPLES, head)
    assert found.rows == ()
    assert found.missing[0].startswith("damaged: ")


def test_auc_step_by_step(trial: Trial, greedy: Trial, head: HeadSource) -> None:
    store = ScoreStore(trial.store, ScoreSpec("rm", "float32", False, "float16"))
    store.prepare()
    rows = []
    for q in range(QUESTIONS):
        for i in range(SAMPLES):
            # Samples of even number are right; the last reward says so, and the sum of all of them.
            steps = [0.0, 1.0 if i % 2 else 0.0, 0.0 if i % 2 else 9.0]
            row = {"question_id": f"q{q}", "question_index": q, "sample_index": i, "score": sum(steps)}
            rows.append({**row, "step_scores": None if (q, i) == (0, 0) else steps})
    store.write(Shard(0, QUESTIONS, 0, SAMPLES), pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))
    found = dynamics_of(replace(trial, scored=Scored(store)), greedy, PROBLEMS, SAMPLES, head)
    assert [values(found)["auc", step] for step in (1, 2, 3)] == [0.5, 0.0, 1.0]
