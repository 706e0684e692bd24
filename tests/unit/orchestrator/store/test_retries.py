"""Rows that are tried again: what goes, what stays to the bit, and that nothing stale lies beside what is made anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import trajectory_table

from latent_core.failures import TRAJECTORY_FAILED
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.store.folder import ShardFolder
from orchestrator.store.retries import Retries, examine, remove_rows, retries_in, retry_lines, take_out
from orchestrator.store.shards import Shard
from orchestrator.store.specs import (
    BeamShape,
    LabelSpec,
    LabelStore,
    ScoreSpec,
    ScoreStore,
    TrajectorySpec,
    TrajectoryStore,
)
from orchestrator.store.trial import Scored, Trial
from workers.tables import SCORE_SCHEMA

SPEC = TrajectorySpec("checkpoint", "task", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32")
PROBLEMS = tuple(Problem(f"q{index}", "?", str(index)) for index in range(4))
IDS = [problem.question_id for problem in PROBLEMS]
SHARD, OTHER = Shard(0, 3, 0, 4), Shard(3, 4, 0, 4)
MEMORY, WRONG = "OutOfMemoryError: CUDA out of memory", "ValueError: too long"
Errors = dict[tuple[int, int], str]


def table_of(shard: Shard, errors: Errors, latents: str = "float16") -> pa.Table:
    rows = [
        Trajectory.failed(PROBLEMS[question], sample, errors[question, sample])
        if (question, sample) in errors
        else Trajectory(
            f"q{question}", sample, "", str(sample), sample == 1, 2, 3, (1, sample),
            np.full((2, 8), question + sample / 8, np.float32), 1.0, 2.0, 0.5,
        )
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]  # fmt: skip
    return trajectory_table(rows, shard.first_question, shard.samples, latents)


def score_table(shard: Shard, errors: Errors) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "question_id": f"q{question}",
            "question_index": question,
            "sample_index": sample,
            "score": None if (question, sample) in errors else float(sample),
            "score_error": errors.get((question, sample)),
        }
        for question in range(shard.first_question, shard.end_question)
        for sample in range(shard.first_sample, shard.end_sample)
    ]
    return pa.Table.from_pylist(rows, schema=SCORE_SCHEMA)


def trial_with(tmp_path: Path, errors: Errors, score_errors: Errors, spec: TrajectorySpec = SPEC) -> Trial:
    """A trial whose store has all of it, scored by its own LatentRM and by another one."""
    store = TrajectoryStore(str(tmp_path / "store"), spec, "float16")
    scores = [ScoreStore(store, ScoreSpec(name, "float32", False, "float16")) for name in ("rm", "other")]
    store.prepare()
    for shard in (SHARD, OTHER):
        store.write(shard, table_of(shard, errors))
        for one in scores:
            one.prepare()
            one.write(shard, score_table(shard, {**score_errors, **dict.fromkeys(errors, TRAJECTORY_FAILED)}))
    return Trial("gaussian", "gaussian", 4, (4,), store, Scored(scores[0]))


def mend(trial: Trial, *, lasting: bool = False) -> Retries:
    retries, lines = examine([trial], IDS, ShardFolder.set_aside_damaged, lasting=lasting)
    assert lines == []
    take_out(trial, retries[trial.name], lasting=lasting)
    return retries[trial.name]


def places(cells: "np.ndarray[Any, Any]") -> set[tuple[int, int]]:
    return {(int(question), int(sample)) for question, sample in np.argwhere(cells)}


def healthy(folder: ShardFolder, without: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    rows = folder.read(4, 4).to_dict("records")
    return [str(row) for row in rows if (row["question_index"], row["sample_index"]) not in without]  # type: ignore[misc]


def test_what_had_a_passing_reason_is_missing_afterwards_and_all_else_is_as_it_was(tmp_path: Path) -> None:
    errors = {(1, sample): MEMORY for sample in range(4)} | {(2, 3): WRONG}
    trial = trial_with(tmp_path, errors, {(0, 2): MEMORY, (3, 0): "the reward is not finite"})
    gone = [(1, sample) for sample in range(4)]
    before = healthy(trial.store, gone)
    retries = mend(trial)
    assert (retries.rows, retries.left) == (5, 2)
    coverage = trial.coverage(4)
    assert places(~coverage.sampled) == set(gone)
    assert coverage.scored is not None
    assert places(~coverage.scored) == {*gone, (0, 2)}
    assert healthy(trial.store, gone) == before
    assert trial.store.damaged(IDS) == []
    # The other model has to score them anew as well: its scores would be those of other trajectories.
    other = ScoreStore(trial.store, ScoreSpec("other", "float32", False, "float16"))
    assert places(~other.covered(4, 4)) == set(gone)
    # A shard without such rows has not been touched.
    assert OTHER in trial.store.shards()
    assert mend(trial).rows == 0


def test_a_dry_run_says_the_same_and_touches_nothing(tmp_path: Path) -> None:
    trial = trial_with(tmp_path, {(1, 2): MEMORY, (2, 3): WRONG}, {(0, 0): MEMORY})
    before = sorted(path.name for path in (tmp_path / "store").rglob("*"))
    retries, _ = examine([trial], IDS, ShardFolder.disregard_damaged, lasting=False)
    found = retries[trial.name].without(trial.coverage(4))
    assert sorted(path.name for path in (tmp_path / "store").rglob("*")) == before
    assert retry_lines(retries.values(), lasting=False) == [
        "2 trajectories failed for a passing reason (memory, a lost device or process) and are tried again",
        "1 trajectories have failed for good, and stay; --retry-failed tries them again",
    ]
    mend(trial)
    after = trial.coverage(4)
    assert places(found.sampled) == places(after.sampled)
    assert found.scored is not None
    assert after.scored is not None
    assert places(found.scored) == places(after.scored)


def test_what_failed_for_good_is_tried_again_when_that_is_asked_for(tmp_path: Path) -> None:
    trial = trial_with(tmp_path, {(1, 2): MEMORY, (2, 3): WRONG, (3, 0): WRONG}, {(0, 0): "the reward is not finite"})
    assert mend(trial, lasting=True).rows == 4
    assert places(~trial.coverage(4).sampled) == {(1, 2), (2, 3), (3, 0)}
    assert len(trial.store.read(4, 4)) == 13


def test_rows_that_nobody_asks_for_stay(tmp_path: Path) -> None:
    trial = replace(trial_with(tmp_path, {(1, 1): MEMORY, (1, 3): MEMORY, (3, 0): MEMORY}, {}), samples=2)
    retries, _ = examine([trial], IDS[:3], ShardFolder.set_aside_damaged, lasting=False)
    take_out(trial, retries[trial.name], lasting=False)
    assert places(~trial.coverage(4, 4).sampled) == {(1, 1)}


def test_beams_and_candidates_of_a_question_go_together(tmp_path: Path) -> None:
    spec = replace(SPEC, beam=BeamShape(4, 2, "rm", "float32"))
    trial = trial_with(tmp_path, {(1, 2): MEMORY}, {}, spec)
    mend(trial)
    assert places(~trial.coverage(4).sampled) == {(1, sample) for sample in range(4)}
    labels = LabelStore(str(tmp_path), LabelSpec(SPEC, 4, 2, "float16"))
    assert labels.whole_questions
    errors = trial_with(tmp_path / "x", {(1, 2): MEMORY}, {}).store.inspect().failed
    assert places(retries_in(labels, errors, (4, 4), lasting=False).trajectories) == {
        (1, sample) for sample in range(4)
    }


def test_a_command_that_dies_in_between_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = trial_with(tmp_path, {(1, 2): MEMORY}, {})
    before = healthy(trial.store, [(1, 2)])
    whole = ShardFolder.remove

    def dies(folder: ShardFolder, shard: Shard, latents: str) -> None:
        if folder.name == trial.store.name:
            raise KeyboardInterrupt
        whole(folder, shard, latents)

    with monkeypatch.context() as patched:
        patched.setattr(ShardFolder, "remove", dies)
        with pytest.raises(KeyboardInterrupt):
            mend(trial)
    assert healthy(trial.store, [(1, 2)]) == before
    assert trial.store.damaged(IDS) == []
    mend(trial)
    assert healthy(trial.store, []) == before
    assert places(~trial.coverage(4).sampled) == {(1, 2)}


def test_latents_in_another_precision_stay_as_they_are(tmp_path: Path) -> None:
    store = TrajectoryStore(str(tmp_path), SPEC, "none")
    store.prepare()
    store.write(SHARD, table_of(SHARD, {(0, 1): MEMORY}, "float32"), "float32")
    remove_rows(store, np.array([[False, True, False, False]]))
    assert {latents for _, latents in store.files()} == {"float32"}
    assert store.covered(3, 4).sum() == 11
    assert np.array_equal(store.read(3, 4)["latents"].iloc[-1], np.full(16, 2 + 3 / 8, np.float32))
