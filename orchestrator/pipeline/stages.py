"""The stages of the pipeline: plain functions on blocks that wait for actors or for the store.

They run in worker processes of their own, which start the faster the less is imported here: no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from orchestrator.pipeline.blocks import WorkItem, problems_of
from orchestrator.store.folder import ShardFolder
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import Shard
from orchestrator.store.specs import BeamShape, LabelSpec, TrajectorySpec, TrajectoryStore
from workers.pool import actor_pool
from workers.requests import AnnotateRequest, SampleRequest, ScoreRequest, SearchRequest
from workers.tables import LATENT_DTYPES, trajectory_schema

READ_BY_SCORERS = ("question_id", "question_index", "sample_index", "latent_steps", "answer_ids", "latents")
"""Columns of trajectories that go to a scorer."""

RequestOf = Callable[[pa.Table, WorkItem], Any]
"""Makes the request to an actor out of a block."""


class CallActor:
    """Stage that has an actor of a pool answer each block with the table of its shard."""

    def __init__(self, actors: Sequence[str], method: str, request_of: RequestOf) -> None:
        """Call a method of the actors of these names."""
        self._actors = tuple(actors)
        self._method = method
        self._request_of = request_of

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn a block into the actor's answer."""
        item = WorkItem.of(block)
        request = self._request_of(block, item)
        return item.label(actor_pool(self._actors).call(self._method, request, item.number))


@dataclass(frozen=True)
class SampleRequests:
    """Request factory: sample the trajectories of a work block."""

    spec: TrajectorySpec
    latents: str

    def __call__(self, block: pa.Table, item: WorkItem) -> SampleRequest:
        """Make the request."""
        shard = item.shard
        samples = range(shard.first_sample, shard.end_sample)
        return sample_request(self.spec, self.latents, problems_of(block), samples, shard.first_question)


def sample_request(
    spec: TrajectorySpec, latents: str, problems: Sequence[Problem], samples: range, first_question: int
) -> SampleRequest:
    """Return the request for samples of some questions.

    Args:
        spec: What determines them.
        latents: Precision of the latent vectors in the reply.
        problems: The questions.
        samples: Sample indices.
        first_question: Index that the first question has in the reply; the others follow it.
    """
    return SampleRequest(
        problems=tuple(problems),
        first_sample=samples.start,
        samples=len(samples),
        sampler=spec.sampler,
        latent_steps=spec.latent_steps,
        answer_tokens=spec.answer_tokens,
        seed=spec.seed,
        first_question=first_question,
        latents=latents,
        code=spec.code,
    )


@dataclass(frozen=True)
class SearchRequests:
    """Request factory: search a work block; the samples of a question are its beams, the best one first."""

    spec: TrajectorySpec
    beam: BeamShape
    scorer: str
    latents: str

    def __call__(self, block: pa.Table, item: WorkItem) -> SearchRequest:
        """Make the request."""
        return SearchRequest(
            problems=problems_of(block),
            sampler=self.spec.sampler,
            beams=self.beam.beams,
            branching=self.beam.candidates,
            scorer=self.scorer,
            scorer_dtype=self.beam.scorer_dtype,
            kind=self.beam.kind,
            prune_from=self.beam.prune_from,
            temperature=self.beam.temperature,
            latent_steps=self.spec.latent_steps,
            answer_tokens=self.spec.answer_tokens,
            seed=self.spec.seed,
            first_question=item.shard.first_question,
            latents=self.latents,
            code=self.spec.code,
        )


@dataclass(frozen=True)
class AnnotateRequests:
    """Request factory: sample and label the candidates of a work block."""

    spec: LabelSpec

    def __call__(self, block: pa.Table, item: WorkItem) -> AnnotateRequest:
        """Make the request."""
        trajectories = self.spec.trajectories
        return AnnotateRequest(
            problems=problems_of(block),
            sampler=trajectories.sampler,
            candidates=self.spec.candidates,
            rollouts=self.spec.rollouts,
            latent_steps=trajectories.latent_steps,
            answer_tokens=trajectories.answer_tokens,
            seed=trajectories.seed,
            cut_answers=self.spec.cut_answers,
            first_question=item.shard.first_question,
            code=trajectories.code,
        )


@dataclass(frozen=True)
class ScoreRequests:
    """Request factory: score a shard of trajectories.

    Attributes:
        texts: The text of every question of the task.
        latents: Precision in which latents are read.
        score_answer: Whether the answers are read too.
    """

    texts: tuple[str, ...]
    latents: str
    score_answer: bool

    def __call__(self, block: pa.Table, item: WorkItem) -> ScoreRequest:
        """Make the request."""
        rows, shard = item.whole(block).select(READ_BY_SCORERS), item.shard
        texts = self.texts[shard.first_question : shard.end_question]
        return ScoreRequest(rows, shard.samples, texts, self.latents, self.score_answer)


class Load:
    """Read shards of trajectories that are in the store already."""

    def __init__(self, store: TrajectoryStore) -> None:
        self._store = store

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn a work block into the table of its trajectories.

        Raises:
            UserError: If the shard is damaged; it has been set aside then.
        """
        try:
            return self._load(block)
        except DamagedShard as damage:
            # Latents are not looked at when a command starts.
            self._store.set_aside(damage)
            raise UserError(f"{damage.what}; set aside: the same command makes it anew") from None

    def _load(self, block: pa.Table) -> pa.Table:
        item = WorkItem.of(block)
        table = load_shard(self._store, item.shard)
        return replace(item, counts=trajectory_counts(table)).label(table)


def load_shard(store: TrajectoryStore, shard: Shard) -> pa.Table:
    """Read the trajectories of a shard, in whatever files they are, with latents as they are wanted.

    Raises:
        DamagedShard: If a file is not what its name says.
    """
    schema = trajectory_schema(store.latents)
    rows = store.read(shard.end_question, shard.end_sample, schema.names, first_question=shard.first_question)
    rows = rows[rows["sample_index"] >= shard.first_sample]
    if "latents" in rows:
        # The store may keep them more precisely than they are wanted, which Arrow does not convert by itself.
        dtype = LATENT_DTYPES[store.latents]
        wanted: list[Any] = [None if values is None else values.astype(dtype) for values in rows["latents"]]
        rows = rows.assign(latents=wanted)
    return pa.Table.from_pandas(rows, schema=schema, preserve_index=False)


class Persist:
    """Write the shard; pass on its receipt, or the shard itself where scorers still need it."""

    def __init__(self, store: ShardFolder, pass_on: bool = False) -> None:
        self._store = store
        self._pass_on = pass_on

    def __call__(self, block: pa.Table) -> pa.Table:
        """Store the rows of a block, which have to be one whole shard."""
        item = WorkItem.of(block)
        self._store.write(item.shard, item.whole(block))
        counts = item.counts or trajectory_counts(block)
        return replace(item, counts=counts).label(block) if self._pass_on else pa.Table.from_pylist([dict(counts)])


def trajectory_counts(rows: pa.Table) -> dict[str, int]:
    """Return what the driver wants to know of the trajectories of a shard."""
    answered = pc.is_null(rows["error"])
    whole = pc.and_(answered, pc.invert(rows["cut"]))
    return {
        "rows": len(rows),
        "correct": _count(rows["correct"]),
        "errors": len(rows) - _count(answered),
        "unparsable": _count(pc.and_(whole, pc.is_null(rows["answer"]))),
        "cut": _count(pc.and_(answered, rows["cut"])),
    }


def _count(marks: Any) -> int:
    return int(pc.sum(marks).as_py() or 0)
