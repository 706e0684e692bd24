"""Answers that were cut off: counted everywhere, and without a vote unless somebody wants it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import trajectory_table

from latent_core.errors import UserError
from latent_core.tasks.base import Problem, Task
from latent_core.trajectory import CutAnswers, Trajectory
from orchestrator.analysis.cut_answers import as_begun, judged, with_end_ids
from orchestrator.analysis.evaluation import evaluate
from orchestrator.store.shards import Shard
from orchestrator.store.specs import LabelSpec, LabelStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial

END, OTHER_END, LIMIT = 2, 3, 4
SPEC = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, LIMIT, 0, "float32")
TASK = Task("t", (Problem("q0", "?", "1"), Problem("q1", "?", "2")))
WHOLE, EARLY, CUT = (5, 6, 7, END), (5, END), (5, 6, 7, 8)


def row(question: int, sample: int, answer: str | None, ids: tuple[int, ...], cut: bool = False) -> Trajectory:
    problem = TASK.problems[question]
    right = problem.is_correct(answer)
    return Trajectory(problem.question_id, sample, "", answer, right, 2, len(ids), ids, None, 1.0, 2.0, 0.1, None, cut)


ROWS = [
    row(0, 0, "1", WHOLE),
    row(0, 1, "1", CUT, cut=True),
    row(0, 2, "7", EARLY),
    row(0, 3, None, EARLY),
    row(1, 0, "2", CUT, cut=True),
    row(1, 1, None, CUT, cut=True),
    row(1, 2, "9", WHOLE),
    Trajectory.failed(TASK.problems[1], 3, "RuntimeError: no"),
]


def trial_of(
    tmp_path: Path,
    cut_answers: CutAnswers = "abstain",
    rows: list[Trajectory] = ROWS,
    *,
    old: bool = False,
    end_ids: tuple[int, ...] | None = None,
) -> Trial:
    """A setting with stored rows of both questions; `old` shards are without the column."""
    store = TrajectoryStore(str(tmp_path), SPEC, end_ids=end_ids)
    store.prepare()
    samples = len(rows) // 2
    table = trajectory_table(rows, 0, samples)
    store.write(Shard(0, 2, 0, samples), table.drop_columns("cut") if old else table)
    return Trial("g", "gaussian", samples, (1, 2, samples), store, cut_answers=cut_answers)


def cut_of(trial: Trial) -> list[Any]:
    return trial.store.read(2, trial.samples, ["cut"])["cut"].tolist()


def values(trial: Trial) -> dict[tuple[str, int], float]:
    return {(one.aggregation, one.n): one.value for one in evaluate(trial, TASK).rows}


def test_a_cut_answer_neither_votes_nor_is_right(tmp_path: Path) -> None:
    result = evaluate(trial_of(tmp_path), TASK)
    found = values(trial_of(tmp_path))
    # Question 1 has no right answer any more: a budget of all samples does not cover it.
    assert found["coverage", 4] == 0.5
    assert found["coverage", 1] == pytest.approx((1 / 4 + 0) / 2)
    assert result.questions["correct"].tolist() == [1, 0]
    assert result.questions["distinct_answers"].tolist() == [2, 1]
    assert result.questions["most_frequent_answer"].tolist()[1] == "9"


def test_a_cut_answer_votes_where_that_is_asked_for(tmp_path: Path) -> None:
    result = evaluate(trial_of(tmp_path, "vote"), TASK)
    found = values(trial_of(tmp_path, "vote"))
    assert found["coverage", 4] == 1.0
    assert found["majority_vote", 4] == pytest.approx(0.75)
    assert result.questions["correct"].tolist() == [2, 1]


@pytest.mark.parametrize("cut_answers", ["abstain", "vote"])
def test_each_row_is_counted_once_whatever_becomes_of_it(tmp_path: Path, cut_answers: CutAnswers) -> None:
    result = evaluate(trial_of(tmp_path, cut_answers), TASK)
    counts = ("errors", "cut", "unparsable", "cut_answers")
    assert [result.summary[key] for key in counts] == [1, 3, 1, cut_answers]
    assert result.questions["cut"].tolist() == [1, 2]
    assert result.questions["unparsable"].tolist() == [1, 0]


def test_the_same_answer_may_be_whole_in_one_sample_and_cut_in_another(tmp_path: Path) -> None:
    """It is right in the one and none in the other, which is no contradiction."""
    records = judged(trial_of(tmp_path).store.read(2, 4), trial_of(tmp_path))
    assert records["correct"].tolist()[:2] == [True, False]
    assert records["answer"].isna().tolist()[:2] == [False, True]
    evaluate(trial_of(tmp_path), TASK)


@pytest.mark.parametrize("end_ids", [None, (END,)])
def test_old_shards_show_by_their_tokens_what_was_cut(tmp_path: Path, end_ids: tuple[int, ...] | None) -> None:
    assert cut_of(trial_of(tmp_path, old=True, end_ids=end_ids)) == cut_of(trial_of(tmp_path / "new"))
    assert values(trial_of(tmp_path, old=True)) == values(trial_of(tmp_path / "new"))


def test_end_tokens_are_learned_from_all_shards(tmp_path: Path) -> None:
    """An answer of any shard that ended early tells what ended one of full length in another."""
    rows = [row(0, 0, "1", (5, 6, 7, OTHER_END)), row(0, 1, "1", EARLY), row(1, 0, "2", CUT), row(1, 1, "2", WHOLE)]
    trial = trial_of(tmp_path, rows=rows, old=True)
    assert cut_of(trial) == [True, False, True, False]
    more = [row(0, 2, "1", (5, OTHER_END)), row(1, 2, "2", CUT)]
    trial.store.write(Shard(0, 2, 2, 3), trajectory_table(more, 0, 1).drop_columns("cut"))
    again = replace(trial, samples=3, store=TrajectoryStore(str(tmp_path), SPEC))
    assert cut_of(again) == [False, False, False, True, False, True]


def test_old_and_new_shards_stand_beside_each_other(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, old=True)
    more = [row(0, 4, "1", CUT, cut=True), row(1, 4, "2", EARLY)]
    trial.store.write(Shard(0, 2, 4, 5), trajectory_table(more, 0, 1))
    trial = replace(trial, samples=5)
    assert cut_of(trial) == [False, True, False, False, True, True, True, False, False, False]


FULL = [row(0, 0, "1", WHOLE), row(1, 0, "2", CUT)]


def test_where_no_answer_ended_early_the_end_token_must_be_known(tmp_path: Path) -> None:
    """Guessing would be wrong for answers of one length: all of them end at the limit."""
    assert cut_of(trial_of(tmp_path / "known", rows=FULL, old=True, end_ids=(END,))) == [False, True]
    unknown = trial_of(tmp_path / "unknown", rows=FULL, old=True)
    assert cut_of(unknown) == [None, None]
    with pytest.raises(UserError, match=r"^g: its stored answers are older .* let the checkpoint be there"):
        evaluate(unknown, TASK)


def test_a_report_asks_the_checkpoint_only_where_it_has_to(tmp_path: Path, tiny_checkpoint: Path) -> None:
    from latent_core.models.checkpoint import Checkpoint

    [end] = Checkpoint.open(str(tiny_checkpoint)).answer_ends
    rows = [row(0, 0, "1", (end + 1,) * 3 + (end,)), row(1, 0, "2", CUT)]
    unknown = trial_of(tmp_path, rows=rows, old=True)
    [asked] = with_end_ids([unknown], str(tiny_checkpoint))
    assert cut_of(asked) == [False, True]
    [lost] = with_end_ids([unknown], str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        cut_of(lost)
    [learns] = with_end_ids([trial_of(tmp_path / "early", old=True)], str(tmp_path / "nowhere"))
    assert sum(cut_of(learns)) == 3


def test_what_a_run_knows_is_written_down(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "vote", end_ids=(END, OTHER_END))
    again = Trial.from_plain(trial.to_plain(), str(tmp_path))
    assert (again.cut_answers, again.store.end_ids) == ("vote", (END, OTHER_END))
    assert again.store.spec.key == trial.store.spec.key


def test_runs_of_an_older_version_go_on_as_they_were_begun(tmp_path: Path) -> None:
    plain = trial_of(tmp_path).to_plain()
    del plain["cut_answers"], plain["end_ids"]
    assert Trial.from_plain(plain, str(tmp_path)).cut_answers == "vote"
    assert as_begun({"task": {"name": "x"}})["task"] == {"name": "x", "cut_answers": "vote"}
    assert as_begun({"task": {"name": "x", "cut_answers": "abstain"}})["task"]["cut_answers"] == "abstain"


def test_labels_are_kept_apart_by_what_becomes_of_cut_answers() -> None:
    """Labels are shares of right completions; those of an older version are those with votes, under the same name."""
    spec = LabelSpec(SPEC, 4, 2, "float16")
    assert spec.content["labels"] == {"candidates": 4, "rollouts": 2, "latents": "float16"}
    assert replace(spec, cut_answers="vote").key == spec.key
    assert replace(spec, cut_answers="abstain").key != spec.key


def test_old_labels_do_not_tell(tmp_path: Path) -> None:
    store = LabelStore(str(tmp_path), LabelSpec(SPEC, 2, 2, "float16"))
    store.prepare()
    table = trajectory_table([row(0, 0, "1", WHOLE), row(0, 1, "1", CUT)], 0, 2).drop_columns("cut")
    place = table.schema.get_field_index("sample_index")
    table = table.set_column(place, "sample_index", table["sample_index"].cast("int32"))
    store.write(Shard(0, 1, 0, 2), table)
    read = store.read(1, 2, ["answer", "cut", "cut_completions"])
    assert read["answer"].tolist() == ["1", "1"]
    assert pd.isna(read[["cut", "cut_completions"]]).all(axis=None)
