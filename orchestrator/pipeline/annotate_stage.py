"""The stage of the annotation pipeline: an actor samples and labels a shard, and the store gets it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latent_core.tasks.base import Problem
from orchestrator.pipeline.stages import problems_of, receipt, shard_of
from orchestrator.store.labels import LABEL_SCHEMA
from orchestrator.store.specs import LabelStore
from workers.pool import actor_pool
from workers.requests import AnnotateRequest

if TYPE_CHECKING:
    from latent_core.reward.types import LabelledTrajectory

COST_FIELDS = [("prompt_flops", pa.float64()), ("flops", pa.float64()), ("label_flops", pa.float64())]
CUT_FIELDS = [("cut", pa.bool_()), ("cut_completions", pa.int32())]
"""What the shards hold beyond `LABEL_SCHEMA`: the cost of candidates and of their completions, and whose answers were
cut off."""


class Annotate:
    """Have an actor label the shard, store it, and pass on only its receipt."""

    def __init__(self, reasoners: Sequence[str], store: LabelStore) -> None:
        self._reasoners = tuple(reasoners)
        self._store = store

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn work items into receipts."""
        receipts: list[pa.Table] = []
        spec = self._store.spec
        for item in block.to_pylist():
            problems = problems_of(item)
            request = AnnotateRequest(
                problems=problems,
                sampler=spec.trajectories.sampler,
                candidates=spec.candidates,
                rollouts=spec.rollouts,
                latent_steps=spec.trajectories.latent_steps,
                answer_tokens=spec.trajectories.answer_tokens,
                seed=spec.trajectories.seed,
                cut_answers=spec.cut_answers,
                code=spec.trajectories.code,
            )
            rows: list[LabelledTrajectory] = actor_pool(self._reasoners).call("annotate", request, item["number"])
            table = label_table(rows, problems, item["first_question"], spec.candidates, spec.rollouts)
            self._store.write(shard_of(table), table)
            receipts.append(receipt(table))
        return pa.concat_tables(receipts)


def label_table(
    rows: "Sequence[LabelledTrajectory]",
    problems: Sequence[Problem],
    first_question: int,
    candidates: int,
    rollouts: int,
) -> pa.Table:
    """Turn the labelled candidates of one shard, question by question in sample order, into a table."""
    schema = pa.schema([*LABEL_SCHEMA, *COST_FIELDS, *CUT_FIELDS])
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row, labelled in enumerate(rows):
        trajectory, problem = labelled.trajectory, problems[row // candidates]
        # Nobody learns from questions without both outcomes: their latents would only fill the store.
        latents = trajectory.latents if labelled.labels is not None else None
        values = {
            "question_id": problem.question_id,
            "question_index": first_question + row // candidates,
            "question": problem.question,
            "reference": problem.answer,
            "grader": problem.grader,
            "sample_index": trajectory.sample_index,
            "answer": trajectory.answer,
            "correct": trajectory.correct,
            "latent_steps": trajectory.latent_steps,
            "latents": None if latents is None else latents.astype(np.float16).ravel(),
            "answer_ids": list(trajectory.answer_ids),
            "labels": labelled.labels,
            "rollouts": rollouts,
            "error": trajectory.error,
            "prompt_flops": trajectory.prompt_flops,
            "flops": trajectory.flops,
            "label_flops": labelled.label_flops,
            "cut": trajectory.cut,
            "cut_completions": labelled.cut_completions,
        }
        for name, value in values.items():
            columns[name].append(value)
    return pa.table(columns, schema=schema)
