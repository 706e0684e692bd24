"""Decoded thoughts of stored trajectories, in a folder beside them: what needs the output head is computed once."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.store.folder import ShardFolder
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectoryStore

THOUGHT_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question_index", pa.int64()),
        ("sample_index", pa.int64()),
        ("thoughts", pa.list_(pa.int32())),
    ]
)
"""`thoughts` has the most likely token at every latent of a trajectory; null for one that failed."""


class ThoughtStore(ShardFolder):
    """The decoded thoughts of one trial's trajectories. They follow from trajectory and checkpoint, which name it."""

    schema = THOUGHT_SCHEMA

    def __init__(self, trajectories: TrajectoryStore) -> None:
        """Name the place; nothing is read or written yet."""
        super().__init__(
            trajectories.root,
            f"{trajectories.name}/thoughts",
            {"thoughts": "most likely token at every latent", "trajectories": trajectories.name},
        )


def thought_table(question_ids: Sequence[str], shard: Shard, thoughts: Sequence[NDArray[np.int32] | None]) -> pa.Table:
    """Return the table of one shard, question by question in sample order.

    Args:
        question_ids: Those of its questions.
        shard: Which one.
        thoughts: Tokens of each row; None for one that failed.
    """
    columns = {
        "question_id": [name for name in question_ids for _ in range(shard.samples)],
        "question_index": np.arange(shard.first_question, shard.end_question).repeat(shard.samples),
        "sample_index": np.tile(np.arange(shard.first_sample, shard.end_sample), shard.questions),
        "thoughts": list(thoughts),
    }
    return pa.table(columns, schema=THOUGHT_SCHEMA)
