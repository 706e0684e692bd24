"""Waves: a stage that samples a block of questions as far as a budget rule lets each of them go.

A block goes through its waves in the process that waits for it, and many blocks are on their way at once, so that no
question waits for those of another block. What has been sampled is in the store before it is scored and before anybody
decides upon it; a block that is begun anew, by this command or the next, reads what is there and decides the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from orchestrator.pipeline.blocks import WorkItem, problems_of
from orchestrator.pipeline.stages import READ_BY_SCORERS, load_shard, sample_request, trajectory_counts
from orchestrator.store.decisions import SeenSamples
from orchestrator.store.folder import ShardFolder
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import BoolArray, Shard, missing_shards
from orchestrator.store.trial import Trial
from workers.pool import actor_pool
from workers.requests import ScoreRequest

_ADDRESS = ("question_index", "sample_index")


@dataclass(frozen=True)
class Part:
    """Some questions, not always neighbours, and a range of samples: what one call of an actor is about.

    Attributes:
        questions: Indices of the questions within the task, in order.
        samples: Indices of the samples.
    """

    questions: tuple[int, ...]
    samples: range

    @classmethod
    def of(cls, shard: Shard) -> Self:
        """Return the same questions and samples as a shard."""
        samples = range(shard.first_sample, shard.end_sample)
        return cls(tuple(range(shard.first_question, shard.end_question)), samples)

    def shards(self) -> Iterator[tuple[int, Shard]]:
        """Cut it into shards, each with the row at which it begins: neighbours are one."""
        begin = 0
        for index in range(1, len(self.questions) + 1):
            if index == len(self.questions) or self.questions[index] != self.questions[index - 1] + 1:
                first, end = self.questions[begin], self.questions[index - 1] + 1
                yield begin * len(self.samples), Shard(first, end, self.samples.start, self.samples.stop)
                begin = index

    def addressed(self, table: pa.Table) -> pa.Table:
        """Return the table of its rows, question by question, with the indices of its questions.

        Raises:
            ValueError: If they are not all its rows.
        """
        if len(table) != len(self.questions) * len(self.samples):
            raise ValueError(f"{len(table)} rows are not those of {self}")
        place = table.schema.get_field_index("question_index")
        indices = pa.array(np.repeat(np.array(self.questions, np.int64), len(self.samples)))
        return table.set_column(place, table.schema.field(place), indices)


def parts_of(lacking: BoolArray, first_question: int, samples_per_part: int) -> list[Part]:
    """Cut what is lacking into calls: questions that lack the same samples are asked together.

    Args:
        lacking: Samples that are lacking, bool [questions, samples].
        first_question: Index of the first of the questions.
        samples_per_part: Most samples in a part.
    """
    questions: dict[tuple[int, int], list[int]] = {}
    for shard in missing_shards(~lacking, 1, samples_per_part):
        span = shard.first_sample, shard.end_sample
        questions.setdefault(span, []).append(first_question + shard.first_question)
    return [Part(tuple(some), range(*span)) for span, some in sorted(questions.items())]


class RunWaves:
    """Stage that samples, stores and scores a block wave by wave; its table is what the driver wants to know."""

    def __init__(
        self,
        trial: Trial,
        reasoners: Sequence[str],
        scorers: Sequence[str],
        samples_per_call: int,
        begun: Sequence[bool],
    ) -> None:
        """Take what all blocks share.

        Args:
            trial: The trial; it has a budget rule.
            reasoners: Names of the reasoner actors.
            scorers: Names of the scorer actors, where something scores the trial.
            samples_per_call: Most samples of a question in one call.
            begun: Of every question, whether the store had something when the pipeline was made.
        """
        self._trial = trial
        self._reasoners, self._scorers = tuple(reasoners), tuple(scorers)
        self._samples_per_call = samples_per_call
        self._begun = tuple(begun)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Carry a block through its waves.

        Raises:
            UserError: If a shard is damaged; it has been set aside then.
        """
        item = WorkItem.of(block)
        try:
            return pa.Table.from_pylist([self._run(item, problems_of(block))])
        except DamagedShard as damage:
            self._trial.store.set_aside(damage)
            raise UserError(f"{damage.what}; set aside: the same command makes it anew") from None

    def _run(self, item: WorkItem, problems: Sequence[Problem]) -> dict[str, int]:
        shard = item.shard
        asked = dict(zip(range(shard.first_question, shard.end_question), problems, strict=True))
        seen = self._trial.seen(range(shard.first_question, shard.end_question))
        if any(self._begun[shard.first_question : shard.end_question]):
            self._trial.read_into(seen)
        decisions = seen.decide()
        may_come = int(np.count_nonzero(decisions.wanted & ~(seen.sampled & seen.scored)))
        counts = Counter(rows=0, correct=0, errors=0, settled=decisions.open)
        while decisions.open:
            wave = decisions.next_wave
            # What others have sampled and nobody has scored is scored first.
            for part in parts_of(wave & seen.sampled & ~seen.scored, shard.first_question, self._samples_per_call):
                for _, known in part.shards():
                    table = load_shard(self._trial.store, known)
                    self._score(Part.of(known), table, asked, item, seen)
                    counts.update(trajectory_counts(table))
            for part in parts_of(wave & ~seen.sampled, shard.first_question, self._samples_per_call):
                table = self._sample(part, asked, item)
                seen.add(table.select([*_ADDRESS, *seen.record_columns]).to_pandas())
                self._score(part, table, asked, item, seen)
                counts.update(trajectory_counts(table))
            decisions = seen.decide()
        return {**counts, "spared": may_come - counts["rows"]}

    def _sample(self, part: Part, asked: Mapping[int, Problem], item: WorkItem) -> pa.Table:
        store, problems = self._trial.store, [asked[index] for index in part.questions]
        request = sample_request(store.spec, store.kept, problems, part.samples, first_question=0)
        request = replace(request, keep_prompts=True)
        table = part.addressed(actor_pool(self._reasoners).call("sample", request, item.number))
        _persist(store, part, table)
        return table

    def _score(
        self, part: Part, table: pa.Table, asked: Mapping[int, Problem], item: WorkItem, seen: SeenSamples
    ) -> None:
        scored = self._trial.scored
        if scored is None:
            return
        texts = tuple(asked[index].question for index in part.questions)
        rows, latents = table.select(READ_BY_SCORERS), self._trial.store.latents
        request = ScoreRequest(rows, len(part.samples), texts, latents, scored.store.spec.score_answer)
        scores = actor_pool(self._scorers).call("score", request, item.number)
        _persist(scored.store, part, scores)
        seen.add_scores(scores.select([*_ADDRESS, "score"]).to_pandas())


def _persist(store: ShardFolder, part: Part, table: pa.Table) -> None:
    for row, shard in part.shards():
        store.write(shard, table.slice(row, shard.rows))
