"""Re-reading: trajectories whose texts the store holds under another reading, read and judged anew without a model.

Which extractor and which grader read the texts has a part of a folder's name for itself. Where the trajectories that a
trial lacks are in a folder of another reading, its shards are copied with new answers and new judgements, one at a
time; the scores of a LatentRM, which depend on neither, are copied as they are. Like any writing of shards it can be
interrupted and repeated, and two commands that do it at once write the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.tasks.reading import read_answers
from orchestrator.store.folder import ShardFolder
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import BoolArray, Shard
from orchestrator.store.specs import ScoreStore
from orchestrator.store.trial import Coverage, Trial


@dataclass(frozen=True)
class Rereadable:
    """What the store holds of a trial under other readings and lacks under its own.

    Attributes:
        trajectories: Which ones, bool [questions, samples].
        unscored: Which trajectories have no score of the trial's LatentRM once all that is there has been taken,
            bool [questions, samples]; none where nothing scores it.
    """

    trajectories: BoolArray
    unscored: BoolArray

    @property
    def rows(self) -> int:
        """Number of trajectories."""
        return int(self.trajectories.sum())


def rereadable(trial: Trial, coverage: Coverage) -> Rereadable:
    """Look for what can be had by reading anew, given what is there; reads no shard."""
    sampled = coverage.sampled
    scored = np.ones_like(sampled) if coverage.scored is None else coverage.scored.copy()
    found = np.zeros_like(sampled)
    for relative in _relatives(trial, coverage):
        found |= relative.covered(*found.shape)
        if trial.scored is not None:
            scored |= _scores_of(relative, trial.scored.store).covered(*found.shape)
    return Rereadable(found & ~sampled & coverage.wanted, (found | sampled) & ~scored & coverage.wanted)


def _relatives(trial: Trial, coverage: Coverage) -> list[ShardFolder]:
    # Who lacks nothing need not look at the whole store.
    return trial.store.relatives() if coverage.lacking.any() else []


def reread(trial: Trial, coverage: Coverage, problems: Sequence[Problem], own: Callable[[str], str | None]) -> Coverage:
    """Write what can be had by reading anew; returns what is there afterwards.

    Args:
        trial: The trial, or a beam search.
        coverage: What is there.
        problems: All questions.
        own: The reasoner's own extractor, for questions that name none.

    Raises:
        UserError: If the store cannot be written.
    """
    relatives = _relatives(trial, coverage)
    if not relatives:
        return coverage
    sampled = coverage.sampled.copy()
    scored = None if coverage.scored is None else coverage.scored.copy()
    for relative in relatives:
        for shard, latents in _lacking(relative, sampled):
            _reread_shard(trial, relative, shard, latents, problems, own)
        if trial.scored is not None and scored is not None:
            _copy_scores(trial.scored.store, relative, scored)
    return coverage.of(sampled, scored)


def _lacking(source: ShardFolder, covered: BoolArray) -> Iterator[tuple[Shard, str]]:
    """Go through the shards of a folder that have what is not covered yet, and cover it."""
    for shard, latents in source.files():
        place = np.s_[shard.first_question : shard.end_question, shard.first_sample : shard.end_sample]
        # A range of questions or samples that are not asked for is empty, and lacks nothing.
        if not covered[place].all():
            covered[place] = True
            yield shard, latents


def _reread_shard(
    trial: Trial,
    source: ShardFolder,
    shard: Shard,
    latents: str,
    problems: Sequence[Problem],
    own: Callable[[str], str | None],
) -> None:
    # What lies behind the last question that is asked, nobody here can judge; further samples can be.
    end = min(shard.end_question, len(problems))
    try:
        rows = source.table(shard, latents)
    except DamagedShard as damage:
        source.set_aside(damage)
        raise UserError(f"{damage.what}; set aside: the same command makes it anew") from None
    rows = rows.filter(pc.less(rows["question_index"], end))
    asked = [problems[index] for index in rows["question_index"].to_pylist()]
    answers, correct = read_answers(rows["answer_text"].to_pylist(), asked, own)
    # A trajectory that could not be computed has no text: it stays wrong, without a vote.
    failed = rows["error"].is_valid().to_pylist()
    answers = [None if lost else answer for answer, lost in zip(answers, failed, strict=True)]
    correct = [right and not lost for right, lost in zip(correct, failed, strict=True)]
    for name, values in (("answer", answers), ("correct", correct)):
        place = rows.schema.get_field_index(name)
        field = rows.schema.field(place)
        rows = rows.set_column(place, field, pa.array(values, field.type))
    trial.store.prepare()
    part = Shard(shard.first_question, end, shard.first_sample, shard.end_sample)
    trial.store.write(part, rows, latents)


def _copy_scores(own: ScoreStore, relative: ShardFolder, scored: BoolArray) -> None:
    source = _scores_of(relative, own)
    for shard, latents in _lacking(source, scored):
        own.prepare()
        own.copy(shard, latents, source)


def _scores_of(relative: ShardFolder, own: ScoreStore) -> ShardFolder:
    """Return the folder of the same scores beside other trajectories."""
    return ShardFolder(own.root, ScoreStore.folder(relative.name, own.spec), own.content)
