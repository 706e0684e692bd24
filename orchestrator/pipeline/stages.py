"""The stages of the pipeline: plain functions on blocks that wait for actors or for the store.

They run in worker processes of their own, which start the faster the less is imported here: no torch.
"""

import pickle
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from latent_core.tasks.base import Problem
from orchestrator.pipeline.score_records import questions_to_score, score_table
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectoryStore
from orchestrator.store.trial import Scored
from workers.pool import actor_pool
from workers.records import LATENT_DTYPES, trajectory_schema
from workers.requests import SampleRequest, ScoreRequest


class Generate:
    """Have an actor sample the shard."""

    def __init__(self, reasoners: Sequence[str], store: TrajectoryStore) -> None:
        self._reasoners = tuple(reasoners)
        self._spec = store.spec
        self._latents = store.latents

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn work items into the table of their trajectories."""
        tables: list[pa.Table] = []
        for item in block.to_pylist():
            request = SampleRequest(
                problems=problems_of(item),
                first_sample=item["first_sample"],
                samples=item["samples"],
                sampler=self._spec.sampler,
                latent_steps=self._spec.latent_steps,
                answer_tokens=self._spec.answer_tokens,
                seed=self._spec.seed,
                first_question=item["first_question"],
                latents=self._latents,
                code=self._spec.code,
            )
            tables.append(actor_pool(self._reasoners).call("sample", request, item["number"]))
        return pa.concat_tables(tables)


class Load:
    """Read shards of trajectories that are in the store already."""

    def __init__(self, store: TrajectoryStore) -> None:
        self._store = store

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn work items into the table of their trajectories."""
        tables: list[pa.Table] = []
        schema = trajectory_schema(self._store.latents)
        for item in block.to_pylist():
            end_question, end_sample = (
                item["first_question"] + item["questions"],
                item["first_sample"] + item["samples"],
            )
            rows = self._store.read(end_question, end_sample, schema.names, first_question=item["first_question"])
            rows = rows[rows["sample_index"] >= item["first_sample"]]
            if "latents" in rows:
                # The store may keep them more precisely than they are wanted, which Arrow does not convert by itself.
                rows = rows.assign(latents=[self._as_wanted(values) for values in rows["latents"]])
            tables.append(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))
        return pa.concat_tables(tables)

    def _as_wanted(self, values: Any) -> Any:
        return None if values is None else values.astype(LATENT_DTYPES[self._store.latents])


class Persist:
    """Write the shard; pass on its receipt, or the shard itself where scorers still need it."""

    def __init__(self, store: TrajectoryStore, pass_on: bool) -> None:
        self._store = store
        self._pass_on = pass_on

    def __call__(self, block: pa.Table) -> pa.Table:
        """Store a table of trajectories, which has to be one whole shard."""
        self._store.write(shard_of(block), block)
        return block if self._pass_on else receipt(block)


class ScoreTrajectories:
    """Have an actor score the shard, and write the scores beside the trajectories."""

    def __init__(self, scorers: Sequence[str], scored: Scored, latents: str, problems: Sequence[Problem]) -> None:
        self._scorers = tuple(scorers)
        self._store = scored.store
        self._latents = latents
        self._texts = tuple(problem.question for problem in problems)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn a table of trajectories, which has to be one whole shard, into a receipt."""
        shard = shard_of(block)
        texts = self._texts[shard.first_question : shard.end_question]
        request = ScoreRequest(
            questions_to_score(block, shard.samples, texts, self._latents), self._store.spec.score_answer
        )
        scores = actor_pool(self._scorers).call("score", request, shard.first_question)
        self._store.write(shard, score_table(block, scores))
        return receipt(block)


def problems_of(item: dict[str, Any]) -> tuple[Problem, ...]:
    """Return the questions of a work item."""
    problems: tuple[Problem, ...] = pickle.loads(item["problems"])
    return problems


def shard_of(block: pa.Table) -> Shard:
    """Return the shard that a block of rows is.

    Raises:
        ValueError: If it is not one whole shard.
    """
    questions, samples = pc.min_max(block["question_index"]), pc.min_max(block["sample_index"])
    shard = Shard(
        questions["min"].as_py(), questions["max"].as_py() + 1, samples["min"].as_py(), samples["max"].as_py() + 1
    )
    if shard.rows != len(block):
        raise ValueError(f"a block of {len(block)} rows is not the whole shard {shard}")
    return shard


def receipt(block: pa.Table) -> pa.Table:
    """Return what the driver wants to know of a shard that has been dealt with."""
    answered = pc.is_null(block["error"])
    whole = pc.and_(answered, pc.invert(block["cut"]))
    return pa.table(
        {
            "rows": [len(block)],
            "correct": [pc.sum(block["correct"]).as_py()],
            "errors": [len(block) - _count(answered)],
            "unparsable": [_count(pc.and_(whole, pc.is_null(block["answer"])))],
            "cut": [_count(pc.and_(answered, block["cut"]))],
        }
    )


def _count(marks: Any) -> int:
    return int(pc.sum(marks).as_py() or 0)
