"""Retries of rows that have failed: they are taken out of their shards, and are missing like any others from then on.

What is left of a shard is written as shards of its own before it goes, so nothing is lost whenever a command is killed;
equal rows may lie in two shards for a while. Scores go before the trajectories that they belong to: none of them is
ever found beside a trajectory that it is not a score of. Which folders lack what, readers know by their listings.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from latent_core.failures import TRAJECTORY_FAILED, is_transient
from orchestrator.store.folder import FailedRow, ShardFolder
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import BoolArray, Shard, missing_shards
from orchestrator.store.trial import Coverage, Trial


@dataclass(frozen=True)
class Retries:
    """What is tried again of a trial, and what has failed and is not.

    Attributes:
        trajectories: Which are sampled again, bool [questions, samples].
        scores: Which are scored again, of the same shape, those of these trajectories among them; None where nothing
            scores the trial.
        left: How many rows have failed for good, and stay.
    """

    trajectories: BoolArray
    scores: BoolArray | None
    left: int

    @property
    def rows(self) -> int:
        """Number of trajectories that are sampled, or only scored, again."""
        return int(np.count_nonzero(self.trajectories if self.scores is None else self.trajectories | self.scores))

    def with_scores(self, scores: "Retries") -> "Retries":
        """Add those of the folder of its scores."""
        return Retries(self.trajectories, self.trajectories | scores.trajectories, self.left + scores.left)

    def without(self, coverage: Coverage) -> Coverage:
        """Return a coverage as it is once they are taken out."""
        scored = coverage.scored
        if scored is not None and self.scores is not None:
            scored = scored & ~self.scores
        return coverage.of(coverage.sampled & ~self.trajectories, scored)


def examine(
    trials: Iterable[Trial],
    question_ids: Sequence[str],
    deal: Callable[[ShardFolder, Sequence[DamagedShard]], list[str]],
    *,
    lasting: bool,
) -> tuple[dict[str, Retries], list[str]]:
    """Read the shards of trials; returns by name what is to be tried again, and a line for each damaged shard.

    Args:
        trials: The trials.
        question_ids: Of all questions in order.
        deal: What is to become of damaged shards of a folder; returns the lines.
        lasting: Whether those rows are tried again, too, that have failed for good.
    """
    retries, lines = {}, []
    for trial in trials:
        found = [folder.inspect(question_ids) for folder in trial.folders]
        for folder, one in zip(trial.folders, found, strict=True):
            lines += deal(folder, one.damages) if one.damages else []
        shape = len(question_ids), trial.samples
        own, *of_scores = (
            retries_in(folder, one.failed, shape, lasting=lasting)
            for folder, one in zip(trial.folders, found, strict=True)
        )
        retries[trial.name] = own.with_scores(of_scores[0]) if of_scores else own
    return retries, lines


def retries_in(folder: ShardFolder, failed: Iterable[FailedRow], shape: tuple[int, int], *, lasting: bool) -> Retries:
    """Choose among the failed rows of a folder, within so many questions and samples."""
    asked = [
        row for row in failed if row.error != TRAJECTORY_FAILED and row.question < shape[0] and row.sample < shape[1]
    ]
    left = 0 if lasting else sum(not is_transient(row.error) for row in asked)
    return Retries(cells_to_retry(folder, asked, shape, lasting=lasting), None, left)


def cells_to_retry(
    folder: ShardFolder, failed: Iterable[FailedRow], shape: tuple[int, int], *, lasting: bool
) -> BoolArray:
    """Mark the rows of a folder that are worth another try, bool [questions, samples] of the given shape."""
    cells = np.zeros(shape, dtype=np.bool_)
    for row in failed:
        if (lasting or is_transient(row.error)) and row.question < shape[0]:
            shard = row.shard
            own = range(shard.first_sample, shard.end_sample) if folder.whole_questions else [row.sample]
            cells[row.question, [sample for sample in own if sample < shape[1]]] = True
    return cells


def take_out(trial: Trial, retries: Retries, *, lasting: bool) -> None:
    """Take rows out of the store that are to be tried again, and all scores of theirs, whichever model gave them.

    Args:
        trial: The trial.
        retries: What is tried again of it.
        lasting: Whether that are all failed rows.

    Raises:
        UserError: If the store cannot be written.
    """
    if retries.scores is not None and trial.scored is not None:
        remove_rows(trial.scored.store, retries.scores)
    if not retries.trajectories.any():
        return
    _take_out_trajectories(trial.store, retries.trajectories)
    # What is missing is taken from folders of other readings, and should not come back from there as it was.
    for relative in trial.store.relatives():
        cells = cells_to_retry(trial.store, relative.inspect().failed, retries.trajectories.shape, lasting=lasting)
        _take_out_trajectories(relative, cells)


def _take_out_trajectories(folder: ShardFolder, cells: BoolArray) -> None:
    for scores in folder.folders_of_scores() if cells.any() else []:
        remove_rows(scores, cells)
    remove_rows(folder, cells)


def remove_rows(folder: ShardFolder, cells: BoolArray) -> None:
    """Write what else is in the shards that have some rows, then remove those shards.

    Args:
        folder: The folder.
        cells: The rows that go, bool [questions, samples].

    Raises:
        UserError: If the store cannot be written.
    """
    if not cells.any():
        return
    for shard, latents in folder.files():
        gone = np.zeros((shard.questions, shard.samples), dtype=np.bool_)
        asked = cells[shard.first_question : shard.end_question, shard.first_sample : shard.end_sample]
        gone[: asked.shape[0], : asked.shape[1]] = asked
        if not gone.any():
            continue
        try:
            table = folder.table(shard, latents)
        except DamagedShard as damage:
            folder.set_aside(damage)
            continue
        except FileNotFoundError:
            # Another command on the same store has been faster.
            continue
        for part in missing_shards(gone, shard.questions, shard.samples):
            folder.write(_moved(part, shard), _rows_of(table, part, shard), latents)
        folder.remove(shard, latents)


def _moved(part: Shard, shard: Shard) -> Shard:
    question, sample = shard.first_question, shard.first_sample
    questions = part.first_question + question, part.end_question + question
    return Shard(*questions, part.first_sample + sample, part.end_sample + sample)


def _rows_of(table: pa.Table, part: Shard, shard: Shard) -> pa.Table:
    starts = range(part.first_question * shard.samples, part.end_question * shard.samples, shard.samples)
    return pa.concat_tables([table.slice(start + part.first_sample, part.samples) for start in starts])


def retry_lines(retries: Collection[Retries], *, lasting: bool) -> list[str]:
    """Say how many rows are tried again, and how many have failed and are not."""
    again, left = sum(one.rows for one in retries), sum(one.left for one in retries)
    lines = []
    if again:
        why = "" if lasting else " for a passing reason (memory, a lost device or process)"
        lines.append(f"{again:,} trajectories failed{why} and are tried again")
    if left:
        lines.append(f"{left:,} trajectories have failed for good, and stay; --retry-failed tries them again")
    return lines
